"""Overlapping crops of images that have a mask."""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmseg.registry import TRANSFORMS

from .multi_view import PackUnlabeledInputs
from .overlap_crops import PADDING, OverlapCrops
from .strict_compose import StrictCompose

IGNORED = 254  # in gt_seg_map, where 255 says that a transform has padded
IGNORE_INDEX = 255


@TRANSFORMS.register_module()
class LabeledOverlapCrops(OverlapCrops):
    """:class:`OverlapCrops` of images with masks, such as coarse pseudo masks.

    Place it after ``LoadAnnotations``. Each data sample also has ``gt_sem_seg``, the
    (1, h, w) int64 mask of the crop, with ``ignore_index`` on padding. Labels must be
    below 254, or ``ignore_index``.

    Args:
        crop_size: Size (height, width) of a crop in pixels, multiples of ``stride``.
        ignore_index: Label of pixels without a label.
        settings: All other settings are those of :class:`OverlapCrops`.
    """

    def __init__(
        self, crop_size: tuple[int, int], ignore_index: int = IGNORE_INDEX, **settings
    ) -> None:
        super().__init__(crop_size, **settings)
        self.ignore_index = ignore_index
        self.shared = StrictCompose(
            [_RecordLabelsAndValidity(ignore_index), *self.shared.transforms[1:]]
        )
        self.pipeline = StrictCompose(
            [*self.pipeline.transforms[:-1], _PackLabels(ignore_index)]
        )


class _RecordLabelsAndValidity(BaseTransform):
    """Keep labels and validity in one map: 255 is padding, 254 an ignored pixel."""

    def __init__(self, ignore_index: int) -> None:
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        labels = results.get('gt_seg_map')
        if labels is None:
            raise ValueError('no mask: LoadAnnotations must stand before the crops')
        ignored = labels == self.ignore_index
        highest = int(labels[~ignored].max(initial=0))
        if highest >= IGNORED:
            raise ValueError(
                f'labels must be below {IGNORED}, or {self.ignore_index}, but one is '
                f'{highest}'
            )
        results['gt_seg_map'] = np.where(ignored, IGNORED, labels).astype(np.uint8)
        results['seg_fields'] = ['gt_seg_map']
        return results


class _PackLabels(PackUnlabeledInputs):
    def __init__(self, ignore_index: int) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def transform(self, results: dict) -> dict:
        labels = results['gt_seg_map'].astype(np.int64)
        results['gt_seg_map'] = np.where(labels == PADDING, PADDING, 0)
        packed = super().transform(results)
        labels[labels == IGNORED] = self.ignore_index
        labels[labels == PADDING] = self.ignore_index
        packed['data_samples'].gt_sem_seg = PixelData(
            data=torch.from_numpy(labels)[None]
        )
        return packed
