"""ClassMix by the labels of the images."""

import warnings

from mmseg.registry import MODELS
from torch import Tensor

from ...functional import classmix_masks, mix, partners
from ...functional.pseudo_label import IGNORE_INDEX
from ...utils.settings import check_choices
from .base import AugmentContext, BatchOp


@MODELS.register_module()
class BatchClassMix(BatchOp):
    """Pastes classes of another image, and what all maps have at their pixels.

    Of the k classes of the other image ``floor(k / 2) + extra`` are pasted, drawn at
    random (Olsson et al., 2021). A batch of one image stays as it is, with a warning.

    Args:
        prob: Probability that classes are pasted into an image.
        extra: Number of classes, 0 or 1, that are pasted beyond half of them.
        skip: Class, such as the background, that is not pasted from an image that has
            other classes; None: no such class.
        per: Unit of the draw: ``'image'`` or ``'batch'``.
    """

    mixes = True

    def __init__(
        self, prob: float, extra: int = 1, skip: int | None = None, per: str = 'image'
    ) -> None:
        super().__init__(prob, per)
        check_choices(extra=(extra, (0, 1)))
        self.extra = extra
        self.skip = skip
        self._warned = False

    def __call__(
        self, images: Tensor, maps: dict[str, Tensor], context: AugmentContext
    ) -> tuple[Tensor, dict[str, Tensor]]:
        n, device = len(images), images.device
        if n == 1:
            self._warn()
            return images, maps
        drawn = self.drawn(n)
        if not drawn.any():
            return images, maps
        partner = partners(n, device)
        donor = self._pasted(maps[context.label][partner], context.ignore_index)
        mask = classmix_masks(donor, IGNORE_INDEX, context.ignore_index, self.extra)
        mask &= drawn.to(device, non_blocking=True)[:, None, None, None]
        return mix(mask, partner, images, maps)

    def _pasted(self, label: Tensor, ignore_index: int) -> Tensor:
        """Labels (N, H, W) of which classes are pasted."""
        if self.skip is None:
            return label
        skipped = label == self.skip
        others = (~skipped & (label != ignore_index)).any(2).any(1)
        return label.masked_fill(skipped & others[:, None, None], ignore_index)

    def _warn(self) -> None:
        if not self._warned:
            warnings.warn(
                f'{type(self).__name__} has no effect: the stream has batch_size=1, '
                'and an image is never mixed with itself',
                stacklevel=4,
            )
        self._warned = True
