"""Pseudo labels from logits: components that a config chooses from."""

from mmseg.registry import MODELS
from torch import Tensor

from ..functional import (
    PseudoLabel,
    dynamic_soft_label,
    pseudo_label,
    top_k_soft_label,
)
from ..utils.profiling import stage
from ..utils.settings import check_choices, check_integers, check_numbers


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


@MODELS.register_module()
class DynamicSoftLabel:
    """Soft label that keeps a pixel's dominant classes (ESL: Ma et al., ICCV 2023).

    The dominant classes are the most probable ones, as few as reach ``top_p`` when
    their probabilities are added. They keep their share of the probability, and all
    other classes get 0; see :func:`~mmsemiseg.functional.dynamic_soft_label`. Where the
    teacher is sure of a pixel one class is enough, which makes a hard label.

    Args:
        top_p: Threshold eta in [0, 1] that the added probabilities reach; 0 makes hard
            labels.
        top_k: Number of dominant classes of each pixel; None: as few as reach
            ``top_p``.
        ties: Which classes are kept if several of equal probability compete for the
            last place: ``'all'`` of them, or the ``'first'`` in the order of classes.
    """

    def __init__(
        self, top_p: float = 0.95, top_k: int | None = None, ties: str = 'all'
    ) -> None:
        check_numbers(1, top_p=top_p)
        check_choices(ties=(ties, ('all', 'first')))
        if top_k is not None:
            check_integers(1, top_k=top_k)
        self.top_p = top_p
        self.top_k = top_k
        self.ties = ties

    @stage('pseudo labels')
    def __call__(self, logits: Tensor, valid: Tensor) -> PseudoLabel:
        """Logits (N, C, H, W), validity map (N, H, W) -> pseudo label."""
        pseudo = pseudo_label(logits, valid, keep_probs=True)
        if self.top_k is None:
            probs = dynamic_soft_label(pseudo.probs, self.top_p, self.ties)
        else:
            probs = top_k_soft_label(pseudo.probs, self.top_k, self.ties)
        return pseudo._replace(probs=probs)

    def __repr__(self) -> str:
        number = f'top_p={self.top_p}' if self.top_k is None else f'top_k={self.top_k}'
        return f'DynamicSoftLabel({number}, ties={self.ties!r})'
