from .base import AugmentContext, BatchOp
from .batch_augment import BatchAugment, build_augment
from .blur import BatchBlur
from .class_mix import BatchClassMix
from .color_jitter import BatchColorJitter
from .flip import BatchFlip
from .image_op import ImageOp, PixelOp
from .scale_crop import BatchScaleCrop

__all__ = [
    'AugmentContext',
    'BatchAugment',
    'BatchBlur',
    'BatchClassMix',
    'BatchColorJitter',
    'BatchFlip',
    'BatchOp',
    'BatchScaleCrop',
    'ImageOp',
    'PixelOp',
    'build_augment',
]
