"""Cross entropy over the hard pixels of a batch."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.losses.utils import get_class_weight
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...utils.settings import check_integers


@MODELS.register_module()
class OHEMLoss(nn.Module):
    r"""Online hard example mining as U2PL has it, as ``loss_decode`` of a head.

    Only the hard pixels K are learned: those with a low probability p_i of their label
    y_i, and at least k = ``min_kept`` of them. V are the pixels that have a label, and
    p_(k) is the k-th smallest p in V (infinite if V has fewer than k):

    .. math::
        K = \{ i \in V : p_i \le \max(\text{threshold}, p_{(k)}) \}, \qquad
        L = \frac{1}{Z} \sum_{i \in K} w_{y_i} (-\log p_i)

    Pixels that are not kept get no gradient; if none is kept the loss is 0.

    Args:
        threshold: Largest probability p of a hard pixel, in (0, 1].
        min_kept: Least number k of kept pixels, counted over the batch of one device
            and not for each image.
        ohem_norm: Divisor Z. ``'kept'``: the sum of w over K. ``'all'``: the divisor of
            ``OHEMPixelSampler`` with ``CrossEntropyLoss``, which is the number of all
            pixels, also those without a label, or, with ``class_weight``, the sum of w
            over V.
        class_weight: Class weights w, one for each class, or a file with them; None:
            all 1.
        ignore_index: Label of the pixels without a label; the setting of the head takes
            precedence.
        loss_weight: Weight of the loss.
        loss_name: Key of the loss in the log; must begin with ``loss_`` to be summed.

    Raises:
        ValueError: A setting is out of its range.

    Example:
        >>> import math, torch
        >>> logits = torch.tensor([[0, math.log(9)], [0, 0]]).reshape(1, 2, 1, 2)
        >>> label = torch.zeros(1, 1, 2, dtype=torch.long)  # p is 1/2 and 9/10
        >>> round(OHEMLoss(threshold=0.7, min_kept=1)(logits, label).item(), 4)  # log 2
        0.6931
    """

    def __init__(
        self,
        threshold: float = 0.7,
        min_kept: int = 100_000,
        ohem_norm: str = 'kept',
        class_weight: Sequence[float] | str | None = None,
        ignore_index: int = 255,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ohem',
    ):
        super().__init__()
        if not 0 < threshold <= 1:
            raise ValueError(f'threshold must be in (0, 1], but got {threshold}')
        check_integers(0, min_kept=min_kept)
        if ohem_norm not in ('kept', 'all'):
            raise ValueError(
                f"ohem_norm must be in ('kept', 'all'), but got {ohem_norm!r}"
            )
        if loss_weight < 0:
            raise ValueError(f'loss_weight must be >= 0, but got {loss_weight}')
        if class_weight is not None:
            class_weight = torch.as_tensor(
                get_class_weight(class_weight), dtype=torch.float32
            )
            if class_weight.dim() != 1 or (class_weight < 0).any():
                raise ValueError(
                    'class_weight must be a list of numbers >= 0, '
                    f'but got {class_weight.tolist()}'
                )
        self.threshold = threshold
        self.min_kept = min_kept
        self.ohem_norm = ohem_norm
        self.register_buffer('class_weight', class_weight, persistent=False)
        self.ignore_index = ignore_index
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int | None = None,
    ) -> Tensor:
        """Logits (N, C, H, W) and labels (N, H, W) -> scalar, in float32.

        ``weight`` (N, H, W), from a pixel sampler of the head, multiplies w.
        """
        if ignore_index is None:
            ignore_index = self.ignore_index
        valid = label != ignore_index
        loss = F.cross_entropy(
            cls_score.float(), label, reduction='none', ignore_index=ignore_index
        )
        kept = self._keep(loss.detach(), valid)
        pixel_weight = self._pixel_weight(cls_score.shape[1], label, valid)
        if weight is not None:
            pixel_weight = pixel_weight * weight
        if self.ohem_norm == 'kept':
            norm = (kept * pixel_weight).sum()
        elif self.class_weight is not None:
            norm = (valid * pixel_weight).sum()
        else:
            norm = pixel_weight.new_tensor(label.numel())
        total = (loss * kept * pixel_weight).sum()
        return self.loss_weight * total / torch.where(norm > 0, norm, 1)

    def _keep(self, loss: Tensor, valid: Tensor) -> Tensor:
        probs = torch.exp(-loss).masked_fill(~valid, torch.inf)
        limit = probs.new_tensor(self.threshold)
        if self.min_kept > 0:
            # no transfer to the host: pixels without a label sort last, as inf
            rank = min(self.min_kept, probs.numel()) - 1
            limit = torch.maximum(limit, probs.flatten().sort().values[rank])
        return valid & (probs <= limit)

    def _pixel_weight(self, num_classes: int, label: Tensor, valid: Tensor) -> Tensor:
        if self.class_weight is None:
            return torch.ones_like(label, dtype=torch.float32)
        if len(self.class_weight) != num_classes:
            raise ValueError(
                f'class_weight must have one number for each of the {num_classes} '
                f'classes, but has {len(self.class_weight)}'
            )
        return self.class_weight[label.masked_fill(~valid, 0)]
