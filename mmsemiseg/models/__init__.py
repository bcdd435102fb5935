from .adapter import HEAD_RULES, HeadRule, SegmentorAdapter
from .data_preprocessor import Batch, SemiDataPreProcessor
from .losses import OHEMLoss
from .segmentors import FixMatch, MeanTeacher, Pair, SemiSegmentor, SupOnly

__all__ = [
    'HEAD_RULES',
    'Batch',
    'FixMatch',
    'HeadRule',
    'MeanTeacher',
    'OHEMLoss',
    'Pair',
    'SegmentorAdapter',
    'SemiDataPreProcessor',
    'SemiSegmentor',
    'SupOnly',
]
