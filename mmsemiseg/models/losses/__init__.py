from .balanced_cross_entropy import BalancedCrossEntropy, balanced
from .directional_contrast_loss import DirectionalContrastLoss
from .ohem_loss import OHEMLoss
from .peer_contrast_loss import Anchors, Keys, PeerContrastLoss, ready_together

__all__ = [
    'Anchors',
    'BalancedCrossEntropy',
    'DirectionalContrastLoss',
    'Keys',
    'OHEMLoss',
    'PeerContrastLoss',
    'balanced',
    'ready_together',
]
