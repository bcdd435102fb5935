"""Entropy of the predictions, as a loss."""

from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import entropy_loss
from ...functional.entropy import NORMS, OVER
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_numbers


@MODELS.register_module()
class EntropyLoss(nn.Module):
    """Weighted mean entropy of the predicted classes (see :func:`entropy_loss`).

    It is small where the student is sure of each pixel. Padding adds nothing to it.

    Args:
        weight: Weight of the loss.
        norm: Scale of a pixel's entropy: ``'classes'`` divides it by log C, its largest
            value for C classes, so that it is in [0, 1]; ``'nats'`` leaves it in nats.
        over: Pixels by whose number the sum is divided: the ``'valid'`` ones, or
            ``'all'``, padding included.
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
