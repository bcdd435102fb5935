from .adapter import HEAD_RULES, HeadRule, SegmentorAdapter
from .backbones import DilatedVGG, EfficientNetLite
from .batch_augment import BatchAugment
from .contrast import (
    BankContrast,
    Contrast,
    LabeledCandidates,
    OverlapContrast,
    PartContrast,
    PeerContrast,
)
from .data_preprocessor import Batch, SemiDataPreProcessor
from .heads import ConvBlocks, DeepLabV2Head, DeepLabV3PlusHead
from .losses import (
    BalancedCrossEntropy,
    DirectionalContrastLoss,
    EntropyLoss,
    MaskedLovaszLoss,
    OHEMLoss,
    PeerContrastLoss,
    PseudoLabelLoss,
)
from .memories import (
    ClassBalance,
    ClassQueueBank,
    FrequencyWindow,
    PartPrototypes,
    StepQueue,
)
from .mixing import ClassMix, CutMix, Mixing
from .pseudo_labels import DynamicSoftLabel, HardLabel, SoftLabel
from .pseudo_segments import QuerySegments, SemanticSegments
from .query_matcher import QueryMatcher
from .segmentors import (
    CAC,
    CMB,
    CPS,
    CTT,
    ESL,
    RC2L,
    CACWeak,
    FixMatch,
    MeanTeacher,
    Pair,
    RegionLosses,
    SemiSegmentor,
    SupOnly,
)
from .tag_classifier import TagClassifier
from .weak_classifier import WeakClassifier

__all__ = [
    'BalancedCrossEntropy',
    'BankContrast',
    'Batch',
    'BatchAugment',
    'CAC',
    'CACWeak',
    'CMB',
    'CPS',
    'CTT',
    'ClassBalance',
    'ClassMix',
    'ClassQueueBank',
    'Contrast',
    'ConvBlocks',
    'CutMix',
    'DeepLabV2Head',
    'DeepLabV3PlusHead',
    'DilatedVGG',
    'DirectionalContrastLoss',
    'DynamicSoftLabel',
    'ESL',
    'EfficientNetLite',
    'EntropyLoss',
    'FixMatch',
    'FrequencyWindow',
    'HEAD_RULES',
    'HardLabel',
    'HeadRule',
    'LabeledCandidates',
    'MaskedLovaszLoss',
    'MeanTeacher',
    'Mixing',
    'OHEMLoss',
    'OverlapContrast',
    'Pair',
    'PartContrast',
    'PartPrototypes',
    'PeerContrast',
    'PeerContrast',
    'PeerContrastLoss',
    'PseudoLabelLoss',
    'QueryMatcher',
    'QuerySegments',
    'RC2L',
    'RegionLosses',
    'SegmentorAdapter',
    'SemanticSegments',
    'SemiDataPreProcessor',
    'SemiSegmentor',
    'SoftLabel',
    'StepQueue',
    'SupOnly',
    'TagClassifier',
    'WeakClassifier',
]
