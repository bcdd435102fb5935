"""Entropy of the predictions, as a part of a method."""

from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import entropy_loss
from ...functional.entropy import NORMS, OVER
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_numbers


@MODELS.register_module()
class EntropyLoss(nn.Module):
    """Weighted mean entropy of the predicted classes (see :func:`entropy_loss`).

    Args:
        weight: Weight of the loss.
        norm: Unit of the entropy: ``'classes'`` divides it by log C, so that it is in
            [0, 1]; ``'nats'`` does not.
        over: Divisor of the entropy: the number of ``'valid'`` pixels, or of ``'all'``
            pixels with padding.
    """

    def __init__(
        self, weight: float = 0.01, norm: str = 'classes', over: str = 'valid'
    ) -> None:
        super().__init__()
        check_numbers(weight=weight)
        check_choices(norm=(norm, NORMS), over=(over, OVER))
        self.weight = weight
        self.norm = norm
        self.over = over

    @stage('entropy')
    def forward(self, logits: Tensor, valid: Tensor) -> Tensor:
        """Logits (N, C, H, W), validity map (N, H, W) -> weighted scalar."""
        return self.weight * entropy_loss(logits, valid, self.norm, self.over)

    def extra_repr(self) -> str:
        return f'weight={self.weight}, norm={self.norm!r}, over={self.over!r}'
