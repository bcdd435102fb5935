"""Two crops of one image that share a part of it."""

import copy
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform, RandomFlip
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from .multi_view import PackUnlabeledInputs, RecordValidity
from .strict_compose import StrictCompose

PADDING = 255  # of the validity map
GEOMETRIC = {
    'CenterCrop',
    'CenterCropEval',
    'MultiScaleFlipAug',
    'Pad',
    'RandomChoiceResize',
    'RandomCrop',
    'RandomMosaic',
    'RandomResize',
    'RandomRotFlip',
    'RandomRotate',
    'Resize',
    'ResizeShortestEdge',
    'ResizeToMultiple',
    'SegRescale',
    'TestTimeAug',
}


@TRANSFORMS.register_module()
class OverlapCrops(BaseTransform):
    """Make two overlapping crops of an image, each with its own flip and colours.

    The first crop is placed at random. The second is shifted from it by a multiple of
    ``stride`` in both axes, so that the cells (positions) of their feature maps cover
    the same pixels. The second is drawn until the intersection over union of the two
    boxes is in ``iou_range``; after ``tries`` draws it is the same box as the first. An
    image smaller than the crop is padded at the right and the bottom; padding is False
    in the ``valid_map``.

    It is the last transform of a pipeline and gives ``{name: packed view}``. A view has
    ``inputs`` (3, h, w), and a data sample with ``valid_map`` (1, h, w),
    ``crop_offset``, which is (top, left) in the resized image before the flip,
    ``flip`` and ``flip_direction``.

    Args:
        crop_size: Size (height, width) of a crop in pixels, multiples of ``stride``.
        iou_range: Least and greatest intersection over union of the crops, in (0, 1].
        stride: Unit in pixels of the shift between the crops: the stride of the
            features that are compared, or a multiple of it.
        tries: Largest number of draws of the second crop.
        shared: Pipeline that runs once before the crops, such as a resizing.
        pipeline: Pipeline that runs on each crop, with random numbers of its own:
            changes of colour, and at most one horizontal ``RandomFlip``.
        views: Names of the two crops in the packed sample.
        pad_val: Value of padded pixels, one for all three channels or one for each, in
            the order of the image's channels (BGR).

    Raises:
        ValueError: A setting is out of its range, or ``pipeline`` moves pixels other
            than by one horizontal flip, or packs.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        iou_range: tuple[float, float] = (0.1, 1.0),
        stride: int = 8,
        tries: int = 50,
        shared: Sequence = (),
        pipeline: Sequence = (),
        views: tuple[str, str] = ('view1', 'view2'),
        pad_val: float | Sequence[float] = 0,
    ) -> None:
        if stride < 1:
            raise ValueError(f'stride must be at least 1, but got {stride}')
        if len(crop_size) != 2 or any(s < 1 or s % stride for s in crop_size):
            raise ValueError(
                'crop_size must be (height, width), multiples of '
                f'stride={stride}, but got {crop_size}'
            )
        if len(iou_range) != 2 or not 0 < iou_range[0] <= iou_range[1] <= 1:
            raise ValueError(
                f'iou_range must be 0 < low <= high <= 1, but got {iou_range}'
            )
        if tries < 1:
            raise ValueError(f'tries must be at least 1, but got {tries}')
        if isinstance(views, str) or len(views) != 2 or views[0] == views[1]:
            raise ValueError(f'views must be two different names, but got {views!r}')
        if not np.isscalar(pad_val) and len(pad_val) != 3:
            raise ValueError(f'pad_val must be one or three values, but got {pad_val}')
        self.crop_size = tuple(crop_size)
        self.iou_range = tuple(iou_range)
        self.stride = stride
        self.tries = tries
        self.views = tuple(views)
        self.pad_val = (pad_val,) * 4 if np.isscalar(pad_val) else tuple(pad_val)
        self.shared = StrictCompose([RecordValidity(), *map(_build, shared)])
        transforms = [_build(cfg) for cfg in pipeline]
        _check_view(transforms)
        self.pipeline = StrictCompose([*transforms, PackUnlabeledInputs()])

    def transform(self, results: dict) -> dict:
        results = self._pad(self.shared(results))
        offsets = self._offsets(results['img'].shape[:2])
        return {
            name: self._view(results, offset)
            for name, offset in zip(self.views, offsets, strict=True)
        }

    def _pad(self, results: dict) -> dict:
        missing = np.subtract(self.crop_size, results['img'].shape[:2]).clip(0)
        if missing.any():
            values = dict(img=self.pad_val, gt_seg_map=(PADDING,))
            for key, value in values.items():
                results[key] = cv2.copyMakeBorder(
                    results[key],
                    top=0,
                    bottom=int(missing[0]),
                    left=0,
                    right=int(missing[1]),
                    borderType=cv2.BORDER_CONSTANT,
                    value=value,
                )
        return results

    def _offsets(self, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Corners (top, left) of both crops."""
        spare = np.subtract(shape, self.crop_size)
        first = np.random.randint(spare + 1)
        before = first // self.stride  # whole strides that fit there
        after = (spare - first) // self.stride
        low, high = self.iou_range
        for _ in range(self.tries):
            shift = self.stride * np.random.randint(-before, after + 1)
            if low <= self._iou(shift) <= high:
                return first, first + shift
        return first, first

    def _iou(self, shift: np.ndarray) -> float:
        common = np.subtract(self.crop_size, abs(shift)).clip(0).prod()
        return common / (2 * np.prod(self.crop_size) - common)

    def _view(self, results: dict, offset: np.ndarray) -> dict:
        top, left = offset.tolist()
        rows = slice(top, top + self.crop_size[0])
        cols = slice(left, left + self.crop_size[1])
        arrays = ('img', 'gt_seg_map')
        rest = {key: value for key, value in results.items() if key not in arrays}
        view = dict(
            copy.deepcopy(rest),
            img=results['img'][rows, cols].copy(),
            gt_seg_map=results['gt_seg_map'][rows, cols].copy(),
            img_shape=self.crop_size,
            pad_shape=self.crop_size,
            crop_offset=(top, left),
            flip=False,
            flip_direction=None,
        )
        packed = self.pipeline(view)
        shape = tuple(packed['inputs'].shape[1:])
        if shape != self.crop_size:
            raise ValueError(
                f'pipeline must keep the size of a crop, but made {shape} of '
                f'crop_size={self.crop_size}'
            )
        return packed

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(crop_size={self.crop_size}, '
            f'iou_range={self.iou_range}, stride={self.stride}, views={self.views})'
        )


def _build(cfg):
    return TRANSFORMS.build(cfg) if isinstance(cfg, dict) else cfg


def _flat(transforms: Sequence) -> Iterator[BaseTransform]:
    """The transforms and, of containers, those within."""
    for transform in transforms:
        yield transform
        inner = getattr(transform, 'transforms', ())
        yield from _flat(inner.transforms if hasattr(inner, 'transforms') else inner)


def _check_view(transforms: Sequence) -> None:
    flips = 0
    for transform in _flat(transforms):
        name = type(transform).__name__
        if isinstance(transform, PackSegInputs):
            raise ValueError(f'pipeline has {name}, but OverlapCrops packs itself')
        if GEOMETRIC & {base.__name__ for base in type(transform).__mro__}:
            raise ValueError(
                'pipeline may move pixels only by RandomFlip, or the crops no longer '
                f'match, but has {name}: put it into shared'
            )
        if isinstance(transform, RandomFlip):
            flips += 1
            if not set(np.atleast_1d(transform.direction)) <= {'horizontal'}:
                raise ValueError(
                    'RandomFlip in pipeline must be horizontal, but has '
                    f'direction={transform.direction!r}'
                )
    if flips > 1:
        raise ValueError(
            'pipeline may have one RandomFlip, as a sample records the last alone, '
            f'but has {flips}'
        )
