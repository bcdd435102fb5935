"""Random augmentation of a batch on its device: images and their maps together.

All random numbers come from torch's CPU generator. What they decide is known on the
host, so nothing waits for the device, and only the chosen images are computed.
"""

import warnings
from collections.abc import Callable
from functools import partial

import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ..functional import classmix_masks, mix, partners
from ..functional.augment import color_jitter, gaussian_blur, scale_crop
from ..functional.pseudo_label import IGNORE_INDEX
from ..utils.layout import as_laid_out
from ..utils.profiling import stage
from ..utils.settings import check_numbers, check_ranges
from .data_preprocessor import Batch

LABEL_MAPS = ('gt_sem_seg', 'gt_edge_map')
COLORS = ('brightness', 'contrast', 'saturation', 'hue')


@MODELS.register_module()
class BatchAugment:
    """Augment a batch on its device: ClassMix, scale, flip, colour jitter, blur.

    The steps come in this order, each with a probability of its own. An image without
    any step comes back bit-equal. Colour jitter and blur need kornia.

    - ClassMix pastes ``floor(k / 2) + classmix_extra`` of the k classes of another
      image, with their part of every map.
    - Scaling keeps the size (H, W). A larger image is cropped at a random place, a
      smaller one lies whole at a random place, the rest is padding.
    - The jitter acts on RGB in [0, 1] and clamps there: brightness is added, contrast
      multiplies, saturation multiplies S and hue turns H of HSV (kornia's
      ``ColorJiggle``), in an order drawn once per call.

    Args:
        flip_prob: Probability of a horizontal flip.
        scale_prob: Probability of scaling by a factor that is uniform in
            ``scale_range``.
        jitter_prob: Probability of the colour jitter.
        brightness: Largest amount x in [0, 1] that is added or taken away, uniform in
            [-x, x].
        contrast: Largest change x in [0, 1] of the factor of the contrast, uniform in
            [1 - x, 1 + x].
        saturation: Largest change x in [0, 1] of the factor of the saturation, uniform
            in [1 - x, 1 + x].
        hue: Largest turn x of the hue in turns of the colour circle, uniform in [-x,
            x], x in [0, 0.5].
        blur_prob: Probability of a Gaussian blur.
        blur_kernel: Odd side of the blur kernel in pixels; a smaller image has a
            smaller one.
        blur_sigma: Least and greatest standard deviation of the blur in pixels, the
            same for both axes.
        blur_axis_sigmas: Fixed ``(sigma_y, sigma_x)`` of every blur, as in the
            published code, instead of ``blur_sigma``; None: not used.
        classmix_prob: Probability that classes of another image are pasted into an
            image.
        classmix_extra: Number of classes, 0 or 1, that are pasted beyond half of them.
        classmix_skip: Class, such as the background, that is not pasted from an image
            that has other classes; None: no such class.
        per: Unit of the draws: ``'image'``, or ``'batch'``, where the choice of steps,
            the scale and the place are drawn once per call (published code). Strengths
            of jitter and blur are always drawn for each image.
    """

    def __init__(
        self,
        flip_prob: float = 0.0,
        scale_prob: float = 0.0,
        scale_range: tuple[float, float] = (0.75, 1.75),
        jitter_prob: float = 0.0,
        brightness: float = 0.0,
        contrast: float = 0.0,
        saturation: float = 0.0,
        hue: float = 0.0,
        blur_prob: float = 0.0,
        blur_kernel: int = 23,
        blur_sigma: tuple[float, float] = (0.1, 1.5),
        blur_axis_sigmas: tuple[float, float] | None = None,
        classmix_prob: float = 0.0,
        classmix_extra: int = 1,
        classmix_skip: int | None = None,
        per: str = 'image',
    ) -> None:
        probs = dict(
            flip_prob=flip_prob,
            scale_prob=scale_prob,
            jitter_prob=jitter_prob,
            blur_prob=blur_prob,
            classmix_prob=classmix_prob,
        )
        self.strengths = dict(
            zip(COLORS, (brightness, contrast, saturation, hue), strict=True)
        )
        check_numbers(1, **{**probs, **self.strengths})
        check_numbers(0.5, hue=hue)
        check_ranges(scale_range=scale_range, blur_sigma=blur_sigma)
        if blur_axis_sigmas is not None and (
            len(blur_axis_sigmas) != 2 or not min(blur_axis_sigmas) > 0
        ):
            raise ValueError(
                'blur_axis_sigmas must be two numbers > 0 (vertical, horizontal) or '
                f'None, but got {blur_axis_sigmas}'
            )
        if blur_kernel < 1 or blur_kernel % 2 == 0:
            raise ValueError(f'blur_kernel must be odd and > 0, but got {blur_kernel}')
        if classmix_extra not in (0, 1):
            raise ValueError(f'classmix_extra must be 0 or 1, but got {classmix_extra}')
        if per not in ('image', 'batch'):
            raise ValueError(f"per must be 'image' or 'batch', but got {per!r}")
        if jitter_prob > 0 and not any(self.strengths.values()):
            raise ValueError(
                f'jitter_prob above 0 needs one of {COLORS} above 0, but all are 0'
            )
        if jitter_prob > 0 or blur_prob > 0:
            _require_kornia()
        self.probs = probs
        self.scale_range = tuple(scale_range)
        self.blur_kernel = blur_kernel
        self.blur_sigma = tuple(blur_sigma)
        self.blur_axis_sigmas = blur_axis_sigmas and tuple(blur_axis_sigmas)
        self.classmix_extra = classmix_extra
        self.classmix_skip = classmix_skip
        self.per = per
        self._warned = False

    @torch.no_grad()
    @stage('augmentation')
    def __call__(
        self,
        images: Tensor,
        maps: dict[str, Tensor],
        fills: dict[str, float],
        *,
        preprocessor,
        label: str = 'label',
        classmix: bool = True,
        ignore_index: int = IGNORE_INDEX,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Augment images and maps by the same geometry; the inputs stay as they are.

        Args:
            images: Images (N, 3, H, W), float, as the preprocessor gives them.
            maps: Maps (N, H, W) of any type, which they keep. Where the bool map
                ``valid`` is False, colour jitter and blur change nothing.
            fills: The value of each map where scaling leaves padding; images get 0.
            preprocessor: Preprocessor that made the images, a
                :class:`~mmsemiseg.models.SemiDataPreProcessor`; its normalisation is
                undone for the colours.
            label: Name of the map of the classes, 0 to 254, that ClassMix chooses from.
            classmix: Whether ClassMix may be used in this call.
            ignore_index: Label of unlabeled pixels, which ClassMix never pastes.
        """
        _check_maps(images, maps, fills)
        given = images
        fills = dict(dict(valid=False), **fills)
        moved = dict(maps)
        if 'valid' not in maps:
            moved['valid'] = images.new_ones(images[:, 0].shape, dtype=torch.bool)
        with torch.autocast(images.device.type, enabled=False):
            if classmix and self.probs['classmix_prob'] > 0:
                images, moved = self._mixed(images, moved, label, ignore_index)
            images, moved = self._where_drawn(
                'scale_prob', lambda *part: self._scaled(*part, fills), images, moved
            )
            images, moved = self._where_drawn('flip_prob', _flipped, images, moved)
            jitter = partial(self._jittered, preprocessor=preprocessor)
            for name, change in (('jitter_prob', jitter), ('blur_prob', self._blurred)):
                valid = dict(valid=moved['valid'])
                change = partial(_valid_changed, change)
                images, _ = self._where_drawn(name, change, images, valid)
        return as_laid_out(images, given), {name: moved[name] for name in maps}

    def _mixed(
        self, images: Tensor, maps: dict, label: str, ignore_index: int
    ) -> tuple[Tensor, dict]:
        n, device = len(images), images.device
        if n == 1:
            self._warn_of_one_image()
            return images, maps
        drawn = self._decisions('classmix_prob', n)
        if not drawn.any():
            return images, maps
        partner = partners(n, device)
        donor = maps[label][partner]
        if self.classmix_skip is not None:
            skipped = donor == self.classmix_skip
            others = (~skipped & (donor != ignore_index)).any(2).any(1)
            skipped &= others[:, None, None]
            donor = donor.masked_fill(skipped, ignore_index)
        mask = classmix_masks(donor, IGNORE_INDEX, ignore_index, self.classmix_extra)
        drawn = drawn.to(device, non_blocking=True)
        mask &= drawn[:, None, None, None]
        return mix(mask, partner, images, maps)

    def _where_drawn(
        self, name: str, change: Callable, images: Tensor, maps: dict
    ) -> tuple[Tensor, dict]:
        """Replace the images that draw ``name``, and their maps, by the changed."""
        drawn = self._decisions(name, len(images))
        if not drawn.any():
            return images, maps
        index = drawn.nonzero()[:, 0].to(images.device, non_blocking=True)
        part = {key: value[index] for key, value in maps.items()}
        new_images, part = change(images[index], part)
        return images.index_copy(0, index, new_images), {
            key: value.index_copy(0, index, part[key]) for key, value in maps.items()
        }

    def _scaled(self, images: Tensor, maps: dict, fills: dict) -> tuple[Tensor, dict]:
        scale, *place = self._rand(3, len(images))
        low, high = self.scale_range
        scale = low + (high - low) * scale
        return scale_crop(images, maps, fills, scale, torch.stack(place))

    def check_bands(self, bands: int) -> None:
        """ValueError where something here needs colours and images have none."""
        if self.probs['jitter_prob'] > 0 and bands != 3:
            raise ValueError(
                f'jitter_prob={self.probs["jitter_prob"]} changes colours, but images '
                f'have {bands} band(s): set jitter_prob=0, or load images as three '
                "equal bands (color_type='color', and three means and stds)"
            )

    def _jittered(self, images: Tensor, preprocessor) -> Tensor:
        self.check_bands(images.shape[1])
        drawn = 2 * torch.rand(len(COLORS), len(images)) - 1
        order = [COLORS[i] for i in torch.randperm(len(COLORS)).tolist()]
        changes = {
            name: self.strengths[name] * drawn[COLORS.index(name)]
            for name in order
            if self.strengths[name] > 0
        }
        images = color_jitter(_to_rgb(images, preprocessor), changes)
        return _from_rgb(images, preprocessor)

    def _blurred(self, images: Tensor) -> Tensor:
        n = len(images)
        if self.blur_axis_sigmas is None:
            low, high = self.blur_sigma
            sigmas = (low + (high - low) * torch.rand(n)).expand(2, n)
        else:
            sigmas = torch.tensor(self.blur_axis_sigmas)[:, None].expand(2, n)
        return gaussian_blur(images, sigmas, self.blur_kernel)

    def _rand(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), (..., N) on the CPU; one number for all N per batch."""
        *most, n = shape
        return torch.rand(*most, 1 if self.per == 'batch' else n).expand(*shape)

    def _decisions(self, name: str, n: int) -> Tensor:
        return self._rand(n) < self.probs[name]

    def _warn_of_one_image(self) -> None:
        if not self._warned:
            warnings.warn(
                f'classmix_prob={self.probs["classmix_prob"]} has no effect: the '
                'stream has batch_size=1, and an image is never mixed with itself',
                stacklevel=4,
            )
        self._warned = True


def augment_labeled(
    augment: BatchAugment, batch: Batch, preprocessor, ignore_index: int
) -> Batch:
    """The images of a labeled batch, and the maps of its data samples with them.

    Padding that scaling leaves is labeled ``ignore_index``.
    """
    maps = {
        name: torch.cat([getattr(sample, name).data for sample in batch.data_samples])
        for name in (*LABEL_MAPS, 'valid_map')
        if name in batch.data_samples[0]
    }
    valid = maps.pop('valid_map')
    images, maps = augment(
        batch.inputs,
        dict(maps, valid=valid),
        dict.fromkeys(LABEL_MAPS, ignore_index),
        preprocessor=preprocessor,
        label='gt_sem_seg',
        ignore_index=ignore_index,
    )
    maps['valid_map'] = maps.pop('valid')
    samples = []
    for index, old in enumerate(batch.data_samples):
        sample = SegDataSample(metainfo=old.metainfo)
        for name, values in maps.items():
            setattr(sample, name, PixelData(data=values[index][None]))
        samples.append(sample)
    return Batch(images, samples)


def _flipped(images: Tensor, maps: dict) -> tuple[Tensor, dict]:
    return images.flip(-1), {name: value.flip(-1) for name, value in maps.items()}


def _valid_changed(change: Callable, images: Tensor, maps: dict) -> tuple[Tensor, dict]:
    return torch.where(maps['valid'][:, None], change(images), images), maps


def _to_rgb(images: Tensor, preprocessor) -> Tensor:
    """Normalised images -> RGB in [0, 1]; files are loaded as BGR in 0 to 255."""
    if preprocessor._enable_normalize:
        images = images * preprocessor.std + preprocessor.mean
    images = (images / 255).clamp(0, 1)
    return images if preprocessor.swaps_channels else images.flip(1)


def _from_rgb(images: Tensor, preprocessor) -> Tensor:
    images = images if preprocessor.swaps_channels else images.flip(1)
    images = images * 255
    if preprocessor._enable_normalize:
        images = (images - preprocessor.mean) / preprocessor.std
    return images


def _require_kornia() -> None:
    try:
        import kornia.color  # noqa: F401
        import kornia.filters  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'jitter_prob and blur_prob above 0 need kornia, which cannot be imported '
            f'({error}): pip install kornia, the extra `augment` of mmsemiseg'
        ) from error


def _check_maps(images: Tensor, maps: dict, fills: dict) -> None:
    for name, value in maps.items():
        if value.shape != images[:, 0].shape:
            raise ValueError(
                f'the map {name!r} must have the shape {tuple(images[:, 0].shape)} of '
                f'the images, but has {tuple(value.shape)}'
            )
        if name not in fills and name != 'valid':
            raise ValueError(f'fills must have a value for the map {name!r}')
