from .base import Contrast, FeaturePart, Pass
from .cells import Cells
from .overlap_contrast import OverlapContrast
from .part_contrast import PartContrast, Parts, PartView

__all__ = [
    'Cells',
    'Contrast',
    'FeaturePart',
    'OverlapContrast',
    'PartContrast',
    'PartView',
    'Parts',
    'Pass',
]
