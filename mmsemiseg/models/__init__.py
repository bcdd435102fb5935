from .adapter import HEAD_RULES, HeadRule, SegmentorAdapter
from .backbones import DilatedVGG, EfficientNetLite
from .batch_augment import BatchAugment
from .contrast import Contrast
from .data_preprocessor import Batch, SemiDataPreProcessor
from .heads import DeepLabV2Head, DeepLabV3PlusHead
from .losses import (
    BalancedCrossEntropy,
    DirectionalContrastLoss,
    MaskedLovaszLoss,
    OHEMLoss,
    PeerContrastLoss,
    PseudoLabelLoss,
)
from .memories import ClassBalance, ClassQueueBank, FrequencyWindow, StepQueue
from .mixing import ClassMix, CutMix, Mixing
from .pseudo_labels import HardLabel, SoftLabel
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
    'ClassMix',
    'ClassQueueBank',
    'Contrast',
    'CutMix',
    'DeepLabV2Head',
    'DeepLabV3PlusHead',
    'DilatedVGG',
    'DirectionalContrastLoss',
    'EfficientNetLite',
    'FixMatch',
    'FrequencyWindow',
    'HardLabel',
    'HeadRule',
    'MeanTeacher',
    'MaskedLovaszLoss',
    'Mixing',
    'OHEMLoss',
    'Pair',
    'PeerContrastLoss',
    'PseudoLabelLoss',
    'QueryMatcher',
    'QuerySegments',
    'SegmentorAdapter',
    'SemanticSegments',
    'SemiDataPreProcessor',
    'SemiSegmentor',
    'SoftLabel',
    'StepQueue',
    'SupOnly',
    'TagClassifier',
]
