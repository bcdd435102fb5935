"""Mixing of unlabeled images and their pseudo labels: components of a config."""

import warnings
from abc import ABC, abstractmethod

from mmseg.registry import MODELS
from torch import Tensor

from ..functional import PseudoLabel, classmix_masks, cutmix_masks, mix, partners
from ..utils.profiling import stage
from ..utils.settings import check_ranges

Labels = PseudoLabel | list[PseudoLabel]


class Mixing(ABC):
    """Pastes a region of another image of the batch into each image.

    Pseudo label, confidence and validity map are pasted by the same mask as the images.
    A subclass implements :meth:`masks`, which chooses the region.

    Attributes:
        reads_pseudo: Whether the masks depend on the pseudo labels.
    """

    reads_pseudo = True

    def __init__(self) -> None:
        self._warned = False

    @stage('mixing')
    def __call__(
        self, images: Tensor, pseudo: Labels, num_classes: int
    ) -> tuple[Tensor, Labels]:
        """Mix images (N, 3, H, W) and their pseudo labels, or each of a list of these.

        A batch of one image stays as it is, with a warning.
        """
        if len(images) == 1:
            self._warn()
            return images, pseudo
        partner = partners(len(images), images.device)
        first = pseudo[0] if isinstance(pseudo, list) else pseudo
        mask = self.masks(images, first, partner, num_classes)
        return mix(mask, partner, images, pseudo)

    @abstractmethod
    def masks(
        self, images: Tensor, pseudo: PseudoLabel, partner: Tensor, num_classes: int
    ) -> Tensor:
        """Mask (N, 1, H, W) bool, True where the pixel of image ``partner`` is taken.

        Args:
            images: Images (N, 3, H, W).
            pseudo: Pseudo labels of the images, the first where there are several.
            partner: Index (N,) of the image that is pasted into each image.
            num_classes: Number of classes C.
        """

    def _warn(self) -> None:
        if not self._warned:
            warnings.warn(
                f'{type(self).__name__} has no effect: the unlabeled stream has '
                'batch_size=1, and an image is never mixed with itself',
                stacklevel=3,
            )
        self._warned = True

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'


@MODELS.register_module()
class CutMix(Mixing):
    """Pastes a random box (CutMix-Seg: French et al., BMVC 2020).

    Args:
        area: Least and greatest area of the box, as a share of the image.
        aspect: Least and greatest height / width of the box.
    """

    reads_pseudo = False

    def __init__(
        self,
        area: tuple[float, float] = (0.5, 0.5),
        aspect: tuple[float, float] = (0.5, 2.0),
    ) -> None:
        super().__init__()
        check_ranges(1, area=area)
        check_ranges(aspect=aspect)
        self.area = tuple(area)
        self.aspect = tuple(aspect)

    def masks(self, images, pseudo, partner, num_classes) -> Tensor:
        n, _, height, width = images.shape
        return cutmix_masks(n, height, width, self.area, self.aspect, images.device)

    def __repr__(self) -> str:
        return f'CutMix(area={self.area}, aspect={self.aspect})'


@MODELS.register_module()
class ClassMix(Mixing):
    """Pastes the pixels of half of the other image's classes (Olsson et al., 2021).

    Which classes are in the other image, and where, its pseudo label says.
    """

    def masks(self, images, pseudo, partner, num_classes) -> Tensor:
        return classmix_masks(pseudo.label[partner], num_classes)
