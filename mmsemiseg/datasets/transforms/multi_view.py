"""Several views of one decoded image, with a record of what is padding."""

import copy

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from .strict_compose import StrictCompose

FIRST_INDEX = 256


@TRANSFORMS.register_module()
class RecordValidity(BaseTransform):
    """Record which pixels are padding, through all later geometric transforms.

    ``MultiView`` and ``OverlapCrops`` put it in front of their transforms. The validity
    map is kept in ``gt_seg_map``, the one field that all geometric transforms of mmcv
    and mmseg move with the image: 0 on the image, the padding value of masks (255)
    where a transform has padded. :class:`PackUnlabeledInputs` turns it into the boolean
    ``valid_map``. No label is involved.

    Args:
        record_geometry: Whether the map also records from which pixel of the decoded
            image each pixel comes, as the flat index of that pixel + 256, which is
            above every padding value.
    """

    def __init__(self, record_geometry: bool = False) -> None:
        self.record_geometry = record_geometry

    def transform(self, results: dict) -> dict:
        if 'seg_map_path' in results:
            raise ValueError(
                f"RecordValidity is for unlabeled images, but '{results['img_path']}' "
                f"comes with the mask '{results['seg_map_path']}'"
            )
        height, width = results['img'].shape[:2]
        if self.record_geometry:
            index = np.arange(height * width, dtype=np.int32) + FIRST_INDEX
            results['gt_seg_map'] = index.reshape(height, width)
            results['recorded_width'] = width
        else:
            results['gt_seg_map'] = np.zeros((height, width), np.uint8)
        results['seg_fields'] = ['gt_seg_map']
        return results


@TRANSFORMS.register_module()
class PackUnlabeledInputs(PackSegInputs):
    """Pack images without labels, as ``PackSegInputs`` does those with labels.

    A pipeline of unlabeled images ends with it; ``MultiView`` and ``OverlapCrops`` add
    it themselves. It gives ``inputs`` (3, H, W) and a data sample without
    ``gt_sem_seg``, but with ``valid_map``, a (1, H, W) bool map that is False on
    padding. If the geometry was recorded, the data sample also has ``coords`` (2, H, W)
    int32: the row and column of each pixel in the decoded image, -1 on padding.

    Args:
        meta_keys: Keys of the results that become meta information of the data sample,
            where they exist; None: those of ``PackSegInputs``, and ``crop_offset``.
    """

    def __init__(self, meta_keys: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.meta_keys = meta_keys or (*self.meta_keys, 'crop_offset')

    def transform(self, results: dict) -> dict:
        validity = results.pop('gt_seg_map', None)
        results.pop('seg_fields', None)
        packed = super().transform(results)
        if validity is None:
            validity = np.zeros(results['img'].shape[:2], np.uint8)
        width = results.get('recorded_width')
        valid = validity == 0 if width is None else validity >= FIRST_INDEX
        sample = packed['data_samples']
        sample.valid_map = PixelData(data=torch.from_numpy(valid.copy())[None])
        if width is not None:
            coords = np.stack(np.divmod(validity - FIRST_INDEX, width))
            coords = np.where(valid, coords, -1).astype(np.int32)
            sample.coords = PixelData(data=torch.from_numpy(coords))
        return packed


@TRANSFORMS.register_module()
class MultiView(BaseTransform):
    """Make several views, differently augmented versions, of one decoded image.

    It is the last transform of a pipeline and gives ``{name: packed view}``.

    Args:
        views: Pipeline of each view, by name. A packing transform is added to a
            pipeline that does not end with one.
        shared: Pipeline that runs once, before those of the views. Put cropping and
            flipping here, and colours into ``views``: then the views match pixel by
            pixel, as most methods need it.

    >>> views = dict(weak=[], strong=[dict(type='PhotoMetricDistortion')])
    >>> sorted(MultiView(views).views)
    ['strong', 'weak']
    """

    def __init__(self, views: dict[str, list], shared: list | tuple = ()) -> None:
        if not views:
            raise ValueError('views must name at least one view, but is empty')
        self.shared = StrictCompose([RecordValidity(), *map(_build, shared)])
        self.views = {name: _view_pipeline(cfgs) for name, cfgs in views.items()}

    def transform(self, results: dict) -> dict:
        results = self.shared(results)
        return {
            name: pipeline(copy.deepcopy(results))
            for name, pipeline in self.views.items()
        }

    def __repr__(self) -> str:
        return f'{type(self).__name__}(views={list(self.views)})'


def _build(cfg):
    return TRANSFORMS.build(cfg) if isinstance(cfg, dict) else cfg


def _view_pipeline(cfgs: list) -> StrictCompose:
    transforms = [_build(cfg) for cfg in cfgs]
    if not any(isinstance(t, PackSegInputs) for t in transforms):
        transforms.append(PackUnlabeledInputs())
    return StrictCompose(transforms)
