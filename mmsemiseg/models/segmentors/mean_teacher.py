"""Mean teacher with pseudo labels, CutMix or ClassMix."""

import warnings

import torch
from mmseg.registry import MODELS
from torch import Tensor

from ...functional import (
    PseudoLabel,
    classmix_masks,
    cutmix_masks,
    keep_mask,
    mix,
    partners,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    pseudo_label_stats,
    schedules,
)
from ...utils.settings import check_choices, check_numbers, check_ranges
from ..adapter import resize_logits
from ..data_preprocessor import Batch
from .base import SemiSegmentor

MIXES = (None, 'cutmix', 'classmix')
NORMS = ('valid', 'weights', 'all')


@MODELS.register_module()
class MeanTeacher(SemiSegmentor):
    """Mean teacher: the student learns pseudo labels of its EMA teacher.

    ``loss = sup + unsup_weight * ramp(t) * CE(student(mix(strong)), mix(label))``

    The teacher labels the weak view of an unlabeled image, and the student learns that
    pseudo label on the strong view. Pseudo label, confidence and validity map are mixed
    by the same mask as the images. CutMix with a threshold is CutMix-Seg (French et
    al., 2020), ClassMix that of Olsson et al. (2021). Needs a
    :class:`~mmsemiseg.engine.hooks.MeanTeacherHook`.

    Args:
        threshold: Least confidence of a pixel that is learned, in [0, 1]; None keeps
            all pixels.
        share_threshold: Confidence in [0, 1] that defines a factor of the loss: the
            share of valid pixels with at least this confidence. None: the factor is 1.
            The ClassMix paper has 0.968 with ``threshold=None``.
        confidence_power: Exponent of the weight of each kept pixel, confidence **
            power; None: all weights are 1.
        soft_labels: Whether the student learns the teacher's probabilities instead of
            its argmax.
        temperature: Temperature of the soft labels, above 0; below 1 they are sharper.
        norm: Divisor of the loss: the number of ``'valid'`` pixels, the sum of the
            ``'weights'``, or the number of ``'all'`` pixels.
        mix: Mixing of the student's images, ``'cutmix'`` or ``'classmix'``; None: no
            mixing.
        cutmix_area: Least and greatest area of the CutMix box, as a share of the image.
        cutmix_aspect: Least and greatest height / width of the CutMix box.
        unsup_weight: Weight of the unsupervised loss.
        ramp_up: Ramp-up of ``unsup_weight``,
            ``dict(kind='exp'|'linear'|'cosine'|'step', length=iterations)``; None: the
            full weight at once.
        views: Names of the teacher's and the student's view in the unlabeled stream.
    """

    with_teacher = True
    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        threshold: float | None = 0.7,
        share_threshold: float | None = None,
        confidence_power: float | None = None,
        soft_labels: bool = False,
        temperature: float = 1.0,
        norm: str = 'valid',
        mix: str | None = 'cutmix',
        cutmix_area: tuple[float, float] = (0.5, 0.5),
        cutmix_aspect: tuple[float, float] = (0.5, 2.0),
        unsup_weight: float = 1.0,
        ramp_up: dict | None = None,
        views: tuple[str, str] = ('weak', 'strong'),
        teacher: dict | None = None,
        predict_with: str | None = None,
        data_preprocessor: dict | None = None,
    ) -> None:
        if teacher is not None and not self.with_teacher:
            raise ValueError(
                f'{type(self).__name__} has no teacher: teacher must be None, '
                f'but got {teacher}'
            )
        super().__init__(
            student,
            teacher=(teacher or {}) if self.with_teacher else None,
            predict_with=predict_with
            or ('teacher' if self.with_teacher else 'student'),
            data_preprocessor=data_preprocessor,
        )
        check_choices(mix=(mix, MIXES), norm=(norm, NORMS))
        check_numbers(
            1,
            threshold=0 if threshold is None else threshold,
            share_threshold=share_threshold or 0,
        )
        check_numbers(confidence_power=confidence_power or 0, unsup_weight=unsup_weight)
        check_ranges(1, cutmix_area=cutmix_area)
        check_ranges(cutmix_aspect=cutmix_aspect)
        if not temperature > 0:
            raise ValueError(f'temperature must be > 0, but got {temperature}')
        if len(views) != 2:
            raise ValueError(f'views must be (weak, strong), but got {views}')
        if ramp_up is not None:
            schedules.ramp_up(0, **ramp_up)
        self.threshold = threshold
        self.share_threshold = share_threshold
        self.confidence_power = confidence_power
        self.soft_labels = soft_labels
        self.temperature = temperature
        self.norm = norm
        self.mix = mix
        self.cutmix_area = tuple(cutmix_area)
        self.cutmix_aspect = tuple(cutmix_aspect)
        self.unsup_weight = unsup_weight
        self.ramp_up = ramp_up
        self.views = tuple(views)
        self._warned = False

    @property
    def filters(self) -> dict:
        """The thresholds that are set, with their values."""
        names = ('threshold', 'share_threshold')
        found = {name: getattr(self, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def unsupervised_loss(self, inputs: dict) -> dict:
        weak, strong = weak_and_strong(inputs['unlabeled'], self.views)
        pseudo = self.label(weak.inputs, weak.valid & strong.valid)
        images, pseudo = self.mixed(strong, pseudo)
        output = self.adapter(self.student, images)
        logits = resize_logits(output.logits, images.shape[2:], self.align_corners)
        weights = pixel_weights(pseudo, self.threshold, self.confidence_power)
        loss = pseudo_label_loss(logits, pseudo, weights, self.norm)
        loss = loss * self.share(pseudo)
        stats = pseudo_label_stats(pseudo, weights, self.num_classes)
        self.step_outputs['pseudo'] = stats
        return dict(loss_unsup=self.unsup_weight * self.ramp(self.ramp_up) * loss)

    @torch.no_grad()
    def label(self, images: Tensor, valid: Tensor) -> PseudoLabel:
        """Pseudo labels of weak images (N, 3, H, W); 255 where ``valid`` is False."""
        output = self.adapter(self.teacher, images)
        logits = resize_logits(output.logits, images.shape[2:], self.align_corners)
        return pseudo_label(logits, valid, self.temperature, self.soft_labels)

    def mixed(self, strong: Batch, pseudo: PseudoLabel) -> tuple[Tensor, PseudoLabel]:
        """Images and pseudo labels after CutMix or ClassMix inside the batch."""
        if self.mix is None:
            return strong.inputs, pseudo
        n, _, height, width = strong.inputs.shape
        if n == 1:
            if not self._warned:
                warn_of_one_image(self.mix)
            self._warned = True
            return strong.inputs, pseudo
        device = strong.inputs.device
        partner = partners(n, device)
        if self.mix == 'cutmix':
            mask = cutmix_masks(
                n, height, width, self.cutmix_area, self.cutmix_aspect, device
            )
        else:
            mask = classmix_masks(pseudo.label[partner], self.num_classes)
        return mix(mask, partner, strong.inputs, pseudo)

    def share(self, pseudo: PseudoLabel) -> 'Tensor | float':
        """Factor of the loss, in [0, 1]: the confident share of the mixed batch."""
        if self.share_threshold is None:
            return 1.0
        confident = keep_mask(pseudo, self.share_threshold).sum()
        return confident / pseudo.valid.sum().clamp(min=1)


def weak_and_strong(
    unlabeled: 'dict[str, Batch] | Batch', views: tuple[str, str]
) -> tuple[Batch, Batch]:
    """Two views of one geometry; a stream with a single view gives it twice."""
    if isinstance(unlabeled, Batch):
        return unlabeled, unlabeled
    missing = [name for name in views if name not in unlabeled]
    if missing:
        raise ValueError(
            f'the unlabeled stream has the views {sorted(unlabeled)}, but the method '
            f'needs {missing}: see MultiView in its pipeline'
        )
    weak, strong = (unlabeled[name] for name in views)
    if weak.inputs.shape != strong.inputs.shape:
        raise ValueError(
            f'the views {views} must have one geometry, but have the sizes '
            f'{tuple(weak.inputs.shape[2:])} and {tuple(strong.inputs.shape[2:])}'
        )
    return weak, strong


def warn_of_one_image(name: str) -> None:
    warnings.warn(
        f"mix='{name}' has no effect: the unlabeled stream has batch_size=1, and an "
        'image is never mixed with itself',
        stacklevel=2,
    )
