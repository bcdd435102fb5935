"""Pseudo labels from logits: registered parts."""

from mmseg.registry import MODELS
from torch import Tensor

from ..functional import PseudoLabel, pseudo_label
from ..utils.profiling import stage


@MODELS.register_module()
class HardLabel:
    """The most probable class of each pixel, with its probability as confidence."""

    @stage('pseudo labels')
    def __call__(self, logits: Tensor, valid: Tensor) -> PseudoLabel:
        """Logits (N, C, H, W), validity map (N, H, W) -> pseudo label."""
        return pseudo_label(logits, valid)

    def __repr__(self) -> str:
        return 'HardLabel()'


@MODELS.register_module()
class SoftLabel:
    """The probabilities of all classes, softmax(logits / temperature).

    Args:
        temperature: Temperature of the softmax, above 0; below 1 the labels are
            sharper.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        self.temperature = temperature

    @stage('pseudo labels')
    def __call__(self, logits: Tensor, valid: Tensor) -> PseudoLabel:
        """Logits (N, C, H, W), validity map (N, H, W) -> pseudo label."""
        return pseudo_label(logits, valid, self.temperature, keep_probs=True)

    def __repr__(self) -> str:
        return f'SoftLabel(temperature={self.temperature})'
