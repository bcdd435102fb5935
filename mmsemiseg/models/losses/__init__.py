from .balanced_cross_entropy import BalancedCrossEntropy, balanced, check_balanced
from .directional_contrast_loss import DirectionalContrastLoss
from .entropy_loss import EntropyLoss
from .masked_lovasz_loss import MaskedLovaszLoss
from .matched_mask_consistency_loss import MatchedMaskConsistencyLoss
from .ohem_loss import OHEMLoss
from .peer_contrast_loss import Anchors, Keys, PeerContrastLoss, ready_together
from .pseudo_label_loss import PseudoLabelLoss
from .region_class_consistency_loss import RegionClassConsistencyLoss
from .region_feature_contrast_loss import RegionFeatureContrastLoss
from .region_loss import RegionLoss
from .region_mask_contrast_loss import RegionMaskContrastLoss
from .semantic_mask_consistency_loss import SemanticMaskConsistencyLoss

__all__ = [
    'Anchors',
    'BalancedCrossEntropy',
    'DirectionalContrastLoss',
    'EntropyLoss',
    'Keys',
    'MaskedLovaszLoss',
    'MatchedMaskConsistencyLoss',
    'OHEMLoss',
    'PeerContrastLoss',
    'PseudoLabelLoss',
    'RegionClassConsistencyLoss',
    'RegionFeatureContrastLoss',
    'RegionLoss',
    'RegionMaskContrastLoss',
    'SemanticMaskConsistencyLoss',
    'balanced',
    'check_balanced',
    'ready_together',
]
