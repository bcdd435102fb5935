from .adapter import HEAD_RULES, HeadRule, SegmentorAdapter
from .backbones import DilatedVGG, EfficientNetLite
from .batch_augment import BatchAugment
from .data_preprocessor import Batch, SemiDataPreProcessor
from .heads import DeepLabV2Head, DeepLabV3PlusHead
from .losses import (
    BalancedCrossEntropy,
    DirectionalContrastLoss,
    MaskedLovaszLoss,
    OHEMLoss,
    PeerContrastLoss,
)
from .memories import ClassBalance, ClassQueueBank, FrequencyWindow, StepQueue
from .pseudo_segments import QuerySegments, SemanticSegments
from .query_matcher import QueryMatcher
from .segmentors import (
    CAC,
    CMB,
    CTT,
    CACWeak,
    FixMatch,
    MeanTeacher,
    Pair,
    SemiSegmentor,
    SupOnly,
)
from .tag_classifier import TagClassifier

__all__ = [
    'CAC',
    'CMB',
    'CTT',
    'HEAD_RULES',
    'BalancedCrossEntropy',
    'Batch',
    'BatchAugment',
    'CACWeak',
    'ClassBalance',
    'ClassQueueBank',
    'DeepLabV2Head',
    'DeepLabV3PlusHead',
    'DilatedVGG',
    'DirectionalContrastLoss',
    'EfficientNetLite',
    'FixMatch',
    'FrequencyWindow',
    'HeadRule',
    'MeanTeacher',
    'MaskedLovaszLoss',
    'OHEMLoss',
    'Pair',
    'PeerContrastLoss',
    'QueryMatcher',
    'QuerySegments',
    'SegmentorAdapter',
    'SemanticSegments',
    'SemiDataPreProcessor',
    'SemiSegmentor',
    'StepQueue',
    'SupOnly',
    'TagClassifier',
]
