"""Heads with an end that acts on each cell alone, so that it need not see all cells."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from mmengine.model import BaseModule
from torch import Tensor, nn

from ...functional import to_rows
from ...utils.profiling import stage

RowFunction = Callable[[Tensor], Tensor]

BLOCK = 256
"""Rows come to the end of a head in multiples of it: oneDNN and cuDNN prepare, and
keep, a convolution for each size they meet."""


class SplitHead(BaseModule):
    """A head of a body, which sees the map, and an end, which sees each cell alone.

    An end is for example a 1x1 convolution. :func:`split_head` leaves it out, for those
    who need its output for few cells, or only the mean of its outputs. A subclass with
    a ``forward`` of its own is not split.
    """

    linear_end = False
    """Whether a mean of outputs of the end is its output of the mean."""

    def body(self, features: Tensor) -> Tensor:
        """Features (N, in_channels, h, w) -> (N, D, h, w)."""
        raise NotImplementedError

    def end(self, features: Tensor) -> Tensor:
        """What the body gives (N, D, h, w) -> (N, channels, h, w)."""
        raise NotImplementedError

    @stage('projection')
    def forward(self, features: Tensor) -> Tensor:
        """Features (N, in_channels, h, w) -> (N, channels, h, w)."""
        return self.end(self.body(features))


@stage('projection')
def split_head(
    head: nn.Module | None, features: Sequence[Tensor], linear: bool = False
) -> tuple[list[Tensor], RowFunction]:
    """Features in front of the end of a head, and the end.

    Args:
        head: Any head; None: the features are the output.
        features: Features (N, in_channels, h, w) of some batches of images.
        linear: Whether an end is left out only if it is linear.

    Returns:
        Features (N, D, h, w) of each batch, and the function that makes of those of any
        cells, as rows (n, D), the output of the head there (n, channels). Of a head
        that is not split they are its output and a function that changes nothing.
    """
    if head is None:
        return list(features), _unchanged
    whole = not isinstance(head, SplitHead) or linear and not head.linear_end
    if whole or type(head).forward is not SplitHead.forward:
        return [head(one) for one in features], _unchanged
    return [head.body(one) for one in features], partial(_end_of_rows, head)


def _unchanged(rows: Tensor) -> Tensor:
    return rows


@stage('projection')
def _end_of_rows(head: SplitHead, rows: Tensor) -> Tensor:
    blocks = max(1, math.ceil(len(rows) / BLOCK))  # no layer takes an empty map
    rest = blocks * BLOCK - len(rows)
    column = nn.functional.pad(rows.T, (0, rest))[None, :, :, None]
    return to_rows(head.end(column))[: len(rows)]
