from .adapter import HEAD_RULES, HeadRule, SegmentorAdapter
from .data_preprocessor import Batch, SemiDataPreProcessor
from .losses import OHEMLoss
from .memories import ClassQueueBank, StepQueue
from .segmentors import FixMatch, MeanTeacher, Pair, SemiSegmentor, SupOnly

__all__ = [
    'HEAD_RULES',
    'Batch',
    'ClassQueueBank',
    'FixMatch',
    'HeadRule',
    'MeanTeacher',
    'OHEMLoss',
    'Pair',
    'SegmentorAdapter',
    'SemiDataPreProcessor',
    'SemiSegmentor',
    'StepQueue',
    'SupOnly',
]
