"""Cross entropy with pseudo labels, weighted by pixel."""

from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import (
    PseudoLabel,
    PseudoLabelStats,
    keep_mask,
    pixel_weights,
    pseudo_label_loss,
    pseudo_label_stats,
    ramp_up,
)
from ...functional.schedules import check_ramp_up
from ...utils.profiling import stage
from ...utils.settings import check_choices, check_numbers

NORMS = ('valid', 'weights', 'all')


@MODELS.register_module()
class PseudoLabelLoss(nn.Module):
    r"""Cross entropy of a student's logits with pseudo labels.

    .. math:: L = \lambda \, r(t) \, s \, \frac1Z \sum_i w_i \, H(y_i, p_i), \qquad
              w_i = [q_i \ge \text{threshold}] \, [i \in M] \, q_i^{\text{power}}

    The sum is over the pixels i. H is the cross entropy of the student's probabilities
    p_i with the pseudo label y_i, q_i the confidence of that label, lambda the weight,
    r(t) the ramp-up in iteration t, and s the share of ``share_threshold``. M are the
    most confident pixels of each class, by ``class_share``. A bracket is 1 where its
    condition holds and 0 elsewhere; padding has w = 0.

    Args:
        weight: Weight lambda of the loss.
        ramp_up: Ramp-up of the weight,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once.
        threshold: Least confidence of a pixel that is learned, in [0, 1]; None keeps
            all pixels.
        class_share: Share in (0, 1] of the pixels of each pseudo class that are
            learned: the most confident ones of the batch, whatever their confidence, as
            in class-balanced self-training. With ``threshold=None`` it takes the place
            of a threshold. None: no such choice.
        share_threshold: Confidence in [0, 1] that defines a factor s of the loss: the
            share of valid pixels with at least this confidence. None: the factor is 1.
            The ClassMix paper has 0.968 with ``threshold=None``.
        confidence_power: Exponent of the weight of each kept pixel, confidence **
            power; None: all weights are 1.
        norm: Divisor Z: the number of ``'valid'`` pixels, which are no padding; the sum
            of the ``'weights'``; or the number of ``'all'`` pixels.
    """

    def __init__(
        self,
        weight: float = 1.0,
        ramp_up: dict | None = None,
        threshold: float | None = 0.7,
        class_share: float | None = None,
        share_threshold: float | None = None,
        confidence_power: float | None = None,
        norm: str = 'valid',
    ) -> None:
        super().__init__()
        check_choices(norm=(norm, NORMS))
        check_numbers(weight=weight, confidence_power=confidence_power or 0)
        check_numbers(
            1,
            threshold=0 if threshold is None else threshold,
            share_threshold=share_threshold or 0,
        )
        if class_share is not None and not 0 < class_share <= 1:
            raise ValueError(f'class_share must be in (0, 1], but got {class_share}')
        check_ramp_up(ramp_up=ramp_up)
        self.weight = weight
        self.ramp_up = ramp_up
        self.threshold = threshold
        self.class_share = class_share
        self.share_threshold = share_threshold
        self.confidence_power = confidence_power
        self.norm = norm

    @stage('pseudo label loss')
    def forward(
        self,
        logits: Tensor,
        pseudo: PseudoLabel,
        iteration: int = 0,
        pixel_factor: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> Tensor:
        """Weighted loss, a scalar; 0 with a gradient of 0 if no pixel is kept.

        Args:
            logits: Logits (N, C, H, W) of the student, at the size of the labels.
            pseudo: Pseudo labels of the same pixels.
            iteration: Iteration of the training, for the ramp-up.
            pixel_factor: Factors (N, H, W) of the pixel weights, such as class weights;
                None: 1.
            weights: What :meth:`pixel_weights` returns, where it is known already.
        """
        if weights is None:
            weights = self.pixel_weights(pseudo)
        if pixel_factor is not None:
            weights = weights * pixel_factor
        loss = pseudo_label_loss(logits, pseudo, weights, self.norm)
        return self.factor(iteration) * loss * self.share(pseudo)

    @stage('pseudo label loss')
    def pixel_weights(self, pseudo: PseudoLabel) -> Tensor:
        """Weight of each pixel, (N, H, W) float32; 0 where it is not learned."""
        return pixel_weights(
            pseudo, self.threshold, self.confidence_power, self.class_share
        )

    def factor(self, iteration: int) -> float:
        """Weight of the loss in an iteration."""
        ramp = 1.0 if self.ramp_up is None else ramp_up(iteration, **self.ramp_up)
        return self.weight * ramp

    def share(self, pseudo: PseudoLabel) -> 'Tensor | float':
        """Factor of the loss in [0, 1]: the confident share of the valid pixels."""
        if self.share_threshold is None:
            return 1.0
        confident = keep_mask(pseudo, self.share_threshold).sum()
        return confident / pseudo.valid.sum().clamp(min=1)

    @stage('pseudo label statistics')
    def statistics(
        self, pseudo: PseudoLabel, num_classes: int, weights: Tensor | None = None
    ) -> PseudoLabelStats:
        """Valid and learned pixels of each class, for hooks."""
        if weights is None:
            weights = self.pixel_weights(pseudo)
        return pseudo_label_stats(pseudo, weights, num_classes)

    @property
    def filters(self) -> dict[str, float]:
        """The settings by which pixels are left out, with their values."""
        names = ('threshold', 'class_share', 'share_threshold')
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def extra_repr(self) -> str:
        names = ('weight', 'ramp_up', *self.filters, 'confidence_power', 'norm')
        return ', '.join(f'{name}={getattr(self, name)!r}' for name in names)
