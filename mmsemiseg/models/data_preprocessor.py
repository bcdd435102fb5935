"""Batches of named streams and views, normalised, padded and on the device."""

import logging
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import Tensor

from ..utils.profiling import stage

ENOUGH = 8  # images of one shape that show the crop of a stream


class Batch(NamedTuple):
    """Images (N, 3, H, W) and their N data samples: one stream, or one view of it."""

    inputs: Tensor
    data_samples: list

    @property
    def valid(self) -> Tensor:
        """Validity map (N, H, W) bool, False on padding."""
        return torch.cat([sample.valid_map.data for sample in self.data_samples])

    @property
    def labels(self) -> Tensor:
        """Labels (N, H, W) int64."""
        labels = [sample.gt_sem_seg.data for sample in self.data_samples]
        return torch.cat(labels).long()


@MODELS.register_module()
class SemiDataPreProcessor(SegDataPreProcessor):
    """``SegDataPreProcessor`` for nested batches of streams and views.

    ``{'labeled': {inputs, data_samples}, 'unlabeled': {'weak': {...}, ...}}`` becomes
    the same nesting with a :class:`Batch` for each stream or view. Each batch is padded
    to a size of its own: that of its largest image, at least ``size``, rounded up to
    ``size_divisor``. Padding is 255 in labels, -1 in ``coords`` and False in
    ``valid_map``. If all images of a stream are equally large and smaller than
    ``size``, there is one warning, since the crops of the pipeline are too small. A
    plain ``{inputs, data_samples}`` (validation, prediction) is handled as by
    MMSegmentation.

    Args:
        mean: Mean of each channel that is subtracted; None: no normalisation.
        std: Standard deviation of each channel that is divided by.
        size: Least size (height, width) of a training batch; None: that of its largest
            image.
        size_divisor: Number that the height and the width of a batch are multiples of.
        pad_val: Value of padded pixels of an image, after the normalisation.
        seg_pad_val: Label of padded pixels, the ignored label.
        bgr_to_rgb: Whether images, which are read as BGR, become RGB.
        rgb_to_bgr: Whether the channels of RGB images are reversed.
        test_cfg: Padding in testing, ``dict(size=...)`` or ``dict(size_divisor=...)``;
            None: no padding.

    Attributes:
        channels_last: Whether batches of images are stored with the channels last;
            :class:`~mmsemiseg.engine.runner.SemiRunner` sets it by its own setting.
    """

    channels_last = False

    def __init__(
        self,
        mean: list | None = None,
        std: list | None = None,
        size: tuple[int, int] | None = None,
        size_divisor: int = 1,
        pad_val: float = 0,
        seg_pad_val: int = 255,
        bgr_to_rgb: bool = False,
        rgb_to_bgr: bool = False,
        test_cfg: dict | None = None,
    ) -> None:
        super().__init__(
            mean=mean,
            std=std,
            size=size,
            size_divisor=size_divisor,
            pad_val=pad_val,
            seg_pad_val=seg_pad_val,
            bgr_to_rgb=bgr_to_rgb,
            rgb_to_bgr=rgb_to_bgr,
            test_cfg=test_cfg,
        )
        # The base keeps it too, under a name that its releases do not agree on
        self.swaps_channels = bool(bgr_to_rgb or rgb_to_bgr)
        self._shapes: dict[str, list] = {}  # stream -> shapes of its images until told

    @property
    def bands(self) -> int:
        """Bands of an image, as the normalisation tells; 3 where there is none."""
        return self.mean.numel() if self._enable_normalize else 3

    @stage('preprocessing')
    def forward(self, data: dict, training: bool = False) -> dict:
        if not training:
            data = super().forward(data, training)
            if isinstance(data['inputs'], Tensor):  # test-time augmentation has lists
                data['inputs'] = self._laid_out(data['inputs'])
            return data
        if 'inputs' in data:
            return self._batch(data, 'labeled')._asdict()
        return dict(inputs={n: self._nested(part, n) for n, part in data.items()})

    def _nested(self, data: dict, stream: str) -> 'Batch | dict[str, Batch]':
        if 'inputs' in data:
            return self._batch(data, stream)
        return {name: self._nested(part, stream) for name, part in data.items()}

    def _batch(self, data: dict, stream: str) -> Batch:
        data = self.cast_data(data)
        images = [self._normalise(image) for image in data['inputs']]
        self._tell_padding(images, stream)
        height, width = self._padded_size(images)
        for image, sample in zip(images, data['data_samples'], strict=True):
            self._pad_sample(sample, image.shape[-2:], (height, width))
        images = [_pad(image, height, width, self.pad_val) for image in images]
        images = self._laid_out(torch.stack(images))
        return Batch(images, list(data['data_samples']))

    def _laid_out(self, images: Tensor) -> Tensor:
        if not self.channels_last:
            return images
        return images.contiguous(memory_format=torch.channels_last)

    def _normalise(self, image: Tensor) -> Tensor:
        if self.swaps_channels and image.size(0) == 3:
            image = image[[2, 1, 0]]
        image = image.float()
        return (image - self.mean) / self.std if self._enable_normalize else image

    def _padded_size(self, images: list[Tensor]) -> tuple[int, int]:
        least = self.size or (1, 1)
        sizes = [max(least[i], *(im.shape[1 + i] for im in images)) for i in (0, 1)]
        divisor = self.size_divisor or 1
        return tuple(-(-size // divisor) * divisor for size in sizes)

    def _tell_padding(self, images: list[Tensor], stream: str) -> None:
        """Warn once of a stream whose images are cropped to less than ``size``."""
        shapes = self._shapes.setdefault(stream, [])
        if self.size is None or len(shapes) >= ENOUGH:
            return
        shapes.extend(tuple(image.shape[-2:]) for image in images)
        height, width = shapes[0]
        smaller = height < self.size[0] or width < self.size[1]
        if len(shapes) >= ENOUGH and smaller and len(set(shapes)) == 1:
            print_log(
                f"stream '{stream}': its images of {height} x {width} are padded to "
                f'data_preprocessor.size, {self.size[0]} x {self.size[1]}. Crop them '
                'to that size, or set data_preprocessor.size=None',
                'current',
                logging.WARNING,
            )

    def _pad_sample(self, sample, shape: tuple, padded: tuple) -> None:
        if 'valid_map' not in sample:
            ones = torch.ones((1, *shape), dtype=torch.bool, device=self.device)
            sample.valid_map = PixelData(data=ones)
        valid = _pad(sample.valid_map.data, *padded, False)
        sample.valid_map = PixelData(data=valid)
        paddings = dict(
            gt_sem_seg=self.seg_pad_val, gt_edge_map=self.seg_pad_val, coords=-1
        )
        for name, value in paddings.items():
            if name in sample:
                padded_map = _pad(getattr(sample, name).data, *padded, value)
                setattr(sample, name, PixelData(data=padded_map))
        right, bottom = padded[1] - shape[1], padded[0] - shape[0]
        sample.set_metainfo(
            dict(
                img_shape=tuple(shape),
                pad_shape=tuple(padded),
                padding_size=(0, right, 0, bottom),
            )
        )


def _pad(tensor: Tensor, height: int, width: int, value: float) -> Tensor:
    """Pad (C, h, w) at the right and the bottom to (C, height, width)."""
    right, bottom = width - tensor.shape[-1], height - tensor.shape[-2]
    if right == 0 and bottom == 0:
        return tensor
    return F.pad(tensor, (0, right, 0, bottom), value=value)
