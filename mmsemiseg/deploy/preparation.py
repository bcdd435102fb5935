"""What a test pipeline and a data preprocessor do with an image, on tensors."""

from collections.abc import Sequence

import torch
from mmcv.transforms import LoadImageFromFile, Resize
from mmseg.datasets.transforms import PackSegInputs
from mmseg.models import SegDataPreProcessor
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

HALF = 0.501  # halves are rounded up by every runtime, in spite of float errors
WITHOUT = 'With --input tensor the file starts behind the preparation, which is yours'


class Preparation(nn.Module):
    """RGB images as bytes -> what the network takes, as the test pipeline does it.

    OpenCV's linear resizing is repeated up to the rounding of a byte.

    Args:
        steps: Transforms of the test pipeline.
        preprocessor: Preprocessor of the segmentor.
        any_size: Whether traced sizes stay those of the image at hand.

    Raises:
        ValueError: A step or a setting has no such form.
    """

    def __init__(
        self,
        steps: Sequence,
        preprocessor: SegDataPreProcessor,
        any_size: bool,
    ) -> None:
        super().__init__()
        if type(preprocessor) is not SegDataPreProcessor:
            kind = type(preprocessor).__name__
            raise ValueError(
                f'the data preprocessor is a {kind}, which is not known here. {WITHOUT}'
            )
        self.steps = [step for step in steps if _resizes(step)]
        self.any_size = any_size
        self.swap = not preprocessor._channel_conversion  # files are read as BGR
        self.normalize = preprocessor._enable_normalize
        if self.normalize:
            self.register_buffer('mean', preprocessor.mean.clone())
            self.register_buffer('std', preprocessor.std.clone())
        padding = preprocessor.test_cfg or {}
        self.size, self.divisor = padding.get('size'), padding.get('size_divisor')
        self.pad_value = preprocessor.pad_val

    @property
    def resizes(self) -> bool:
        """Whether the network sees the image in another size."""
        return bool(self.steps)

    def forward(self, images: Tensor) -> tuple[Tensor, dict]:
        """(N, H, W, 3) uint8 RGB -> (N, 3, h, w), and what MMSegmentation notes."""
        original = self._sides(images.shape[1:3])
        inputs = images.permute(0, 3, 1, 2).float()
        sides = original
        for step in self.steps:
            sides = self._resized(step, sides)
            inputs = interpolate(inputs, size=sides, mode='bilinear')
            inputs = (inputs + HALF).floor()
        if self.swap:
            inputs = inputs.flip(1)
        if self.normalize:
            inputs = (inputs - self.mean) / self.std
        meta = dict(ori_shape=original, img_shape=sides)
        if self.size or self.divisor:
            bottom, right = self._padding(sides)
            inputs = pad(inputs, (0, right, 0, bottom), value=self.pad_value)
            meta['pad_shape'] = self._sides(inputs.shape[2:])
            meta['padding'] = bottom, right
        return inputs, meta

    def _sides(self, shape: Sequence) -> tuple:
        return tuple(shape) if self.any_size else tuple(int(side) for side in shape)

    def _resized(self, step: Resize, sides: tuple) -> tuple:
        """Height and width behind a step, as mmcv rounds them."""
        old = torch.stack([torch.as_tensor(side) for side in sides]).double()
        if step.scale:
            new = old.new_tensor(step.scale[::-1])
        else:
            new = (old * old.new_tensor(step.scale_factor[::-1]) + 0.5).floor()
        if step.keep_ratio:
            long, short = new.max() / old.max(), new.min() / old.min()
            new = (old * torch.minimum(long, short) + 0.5).floor()
        new = new.long()
        if self.any_size and torch.jit.is_tracing():
            return new[0], new[1]
        return tuple(new.tolist())

    def _padding(self, sides: tuple) -> tuple:
        """Rows below and columns on the right."""
        if not self.size:
            return tuple(
                (self.divisor - side % self.divisor) % self.divisor for side in sides
            )
        if self.any_size:
            raise ValueError(
                f'images are padded to {tuple(self.size)}, so that one file for all '
                'sizes cannot be: name the size by --size'
            )
        pairs = zip(self.size, sides, strict=True)
        return tuple(max(full - side, 0) for full, side in pairs)


def _resizes(step) -> bool:
    """Whether a step resizes; those that only load and pack do not."""
    if isinstance(step, (LoadImageFromFile, PackSegInputs)):
        return False
    name = type(step).__name__
    if not isinstance(step, Resize) or name != 'Resize':
        raise ValueError(f'the test pipeline has a {name}. {WITHOUT}')
    if step.interpolation != 'bilinear':
        raise ValueError(
            f'Resize of the test pipeline has interpolation {step.interpolation!r}, '
            f"not 'bilinear'. {WITHOUT}"
        )
    return True
