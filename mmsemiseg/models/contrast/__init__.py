from .base import Contrast, FeaturePart, Pass
from .cells import Cells
from .overlap_contrast import OverlapContrast
from .part_contrast import PartContrast, Parts, PartView
from .peer_contrast import PeerContrast

__all__ = [
    'Cells',
    'Contrast',
    'FeaturePart',
    'OverlapContrast',
    'PartContrast',
    'PartView',
    'Parts',
    'Pass',
    'PeerContrast',
]
