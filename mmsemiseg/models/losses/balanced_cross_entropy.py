"""Cross entropy with class weights that change during the training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import label_weights

NORMS = ('weights', 'valid', 'all')


@MODELS.register_module()
class BalancedCrossEntropy(nn.Module):
    r"""Cross entropy with changing class weights, for ``loss_decode`` of a head.

    .. math:: L = \frac{1}{Z} \sum_{i \in V} w_{y_i} (-\log p_i)

    V are the pixels that have a label, y_i the label of pixel i and p_i the probability
    that the student gives it. If V is empty the loss is 0. The class weights w come
    from the method, which sets them by :func:`balanced` for the time of a step.

    Args:
        norm: Divisor Z: ``'weights'``, the sum of w over V; ``'valid'``, the number of
            pixels of V; ``'all'``, the number of all pixels.
        loss_weight: Weight of the loss.
        loss_name: Key of the loss in the log; must begin with ``loss_`` to be summed.

    Attributes:
        class_weight: Class weights w, (C,); None: all 1. Not in the checkpoint.

    Raises:
        ValueError: A setting is wrong, or w has another number of classes.

    Example:
        >>> import math, torch
        >>> logits = torch.tensor([[0, math.log(3)], [0, 0]]).reshape(1, 2, 1, 2)
        >>> label = torch.tensor([[[0, 1]]])  # p is 1/2 and 1/4
        >>> loss = BalancedCrossEntropy()
        >>> with balanced(loss, torch.tensor([1.0, 0.0])):
        ...     round(loss(logits, label).item(), 4)  # log 2
        0.6931
        >>> round(loss(logits, label).item(), 4)  # log 2 * 3/2
        1.0397
    """

    def __init__(
        self,
        norm: str = 'weights',
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
    ):
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f'norm must be one of {NORMS}, but got {norm!r}')
        if not loss_weight >= 0:
            raise ValueError(f'loss_weight must be >= 0, but got {loss_weight}')
        self.norm = norm
        self.loss_weight = loss_weight
        self.loss_name = loss_name
        self.class_weight: Tensor | None = None

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
    ) -> Tensor:
        """Logits (N, C, H, W) and labels (N, H, W) -> scalar, in float32 at least.

        ``weight`` (N, H, W), from a pixel sampler of the head, multiplies w.
        """
        if pred.dtype in (torch.float16, torch.bfloat16):
            pred = pred.float()
        pixel_weight = self._pixel_weight(pred, target, ignore_index)
        if weight is not None:
            pixel_weight = pixel_weight * weight.detach()
        if self.norm == 'weights':
            size = pixel_weight.sum()
        elif self.norm == 'valid':
            size = (target != ignore_index).sum()
        else:
            size = target.new_full((), target.numel())
        loss = F.cross_entropy(
            pred, target, reduction='none', ignore_index=ignore_index
        )
        total = (pixel_weight * loss).sum() / torch.where(size > 0, size, 1)
        return self.loss_weight * total

    def _pixel_weight(self, pred: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        """Weight of each pixel, (N, H, W), 0 where there is no label."""
        classes = pred.shape[1]
        weights = self.class_weight
        if weights is None:
            weights = pred.new_ones(classes)
        if weights.shape != (classes,):
            raise ValueError(
                f'class_weight must be ({classes},), one for each class of the '
                f'logits, but got {tuple(weights.shape)}'
            )
        return label_weights(weights.detach().to(pred.dtype), target, ignore_index)


def check_balanced(module: nn.Module) -> None:
    """ValueError if there is no :class:`BalancedCrossEntropy` in ``module``."""
    if not _losses(module):
        raise ValueError(
            'class weights need heads with '
            "loss_decode=dict(type='BalancedCrossEntropy'), but "
            f'{type(module).__name__} has none'
        )


@contextmanager
def balanced(module: nn.Module, weights: Tensor | None) -> Iterator[None]:
    """Set the class weights of all :class:`BalancedCrossEntropy` in ``module``.

    They hold inside the ``with`` block; after it the former weights are back.

    Args:
        weights: Class weights (C,), at least 0, on the device of the labels; None: all
            1.

    Raises:
        ValueError: There are weights, but no such loss in ``module``.
    """
    if weights is not None:
        check_balanced(module)
    losses = _losses(module)
    before = [loss.class_weight for loss in losses]
    try:
        for loss in losses:
            loss.class_weight = weights
        yield
    finally:
        for loss, old in zip(losses, before, strict=True):
            loss.class_weight = old


def _losses(module: nn.Module) -> list[BalancedCrossEntropy]:
    return [one for one in module.modules() if isinstance(one, BalancedCrossEntropy)]
