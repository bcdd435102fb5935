"""The rows of the last steps, with their labels."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.settings import check_integers


@MODELS.register_module()
class StepQueue(nn.Module):
    """Memory bank: one queue of the rows of the last steps, of all classes.

    A row is a feature vector with a label. One whose label is no class takes a place
    like any other, so each step can enter the same number of rows. All of its state is
    in the checkpoint; a queue of another size takes the newest rows of a checkpoint.

    Args:
        steps: Number of steps whose rows are kept.
        rows: Number of rows that a step enters, those of all processes.
        dim: Width D of a row.

    Attributes:
        size: Number of rows that are kept, ``steps * rows``.
        features: Rows (size, D) float32.
        labels: Labels (size,) int64, -1 where there is no row yet.
        pointer: Index of the next row, () int64.

    Raises:
        ValueError: A setting, or the shape of what is entered, is wrong.

    >>> queue = StepQueue(steps=3, rows=1, dim=1)
    >>> queue.enqueue(torch.tensor([[5.0], [6.0]]), torch.tensor([1, 0]))
    >>> queue.enqueue(torch.tensor([[7.0], [8.0]]), torch.tensor([1, 1]))
    >>> features, labels = queue.keys()
    >>> features[:, 0].tolist(), labels.tolist()
    ([8.0, 6.0, 7.0], [1, 0, 1])
    """

    def __init__(self, steps: int, rows: int, dim: int):
        super().__init__()
        check_integers(1, steps=steps, rows=rows, dim=dim)
        size = steps * rows
        self.steps = steps
        self.rows = rows
        self.size = size
        self.dim = dim
        self.register_buffer('features', torch.zeros(size, dim))
        self.register_buffer('labels', torch.full((size,), -1))
        self.register_buffer('pointer', torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, features: Tensor, labels: Tensor) -> None:
        """Enter rows (n, D) with labels (n,) in their order; n may be 0."""
        if features.shape != (len(labels), self.dim) or labels.dim() != 1:
            raise ValueError(
                f'features and labels must be (n, {self.dim}) and (n,), but got '
                f'{tuple(features.shape)} and {tuple(labels.shape)}'
            )
        features, labels = features[-self.size :], labels[-self.size :]
        rows = torch.arange(len(labels), device=self.pointer.device)
        place = (self.pointer + rows) % self.size
        self.features.index_copy_(0, place, features.to(self.features.dtype))
        self.labels.index_copy_(0, place, labels.long())
        self.pointer.add_(len(labels)).remainder_(self.size)

    def keys(self) -> tuple[Tensor, Tensor]:
        """``features`` (size, D) and ``labels`` (size,), in no particular order.

        They are the queue's own memory, which the next :meth:`enqueue` overwrites.
        """
        return self.features, self.labels

    def fill(self, num_classes: int) -> Tensor:
        """Share of the places that hold a row of a class, (1,): classes share them."""
        known = (self.labels >= 0) & (self.labels < num_classes)
        return known.float().mean()[None]

    def _load_from_state_dict(self, state: dict, prefix: str, *args) -> None:
        names = [prefix + name for name in ('features', 'labels', 'pointer')]
        if all(name in state for name in names):
            features, labels, pointer = (state[name] for name in names)
            if len(labels) != self.size and features.shape[1:] == (self.dim,):
                other = StepQueue(self.steps, self.rows, self.dim)
                oldest_first = -int(pointer)
                other.enqueue(
                    features.roll(oldest_first, 0), labels.roll(oldest_first, 0)
                )
                state.update(zip(names, other.keys() + (other.pointer,), strict=True))
        super()._load_from_state_dict(state, prefix, *args)

    def extra_repr(self) -> str:
        return f'steps={self.steps}, rows={self.rows}, dim={self.dim}'
