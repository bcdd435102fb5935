from .balanced_cross_entropy import BalancedCrossEntropy, balanced
from .directional_contrast_loss import DirectionalContrastLoss
from .masked_lovasz_loss import MaskedLovaszLoss
from .ohem_loss import OHEMLoss
from .peer_contrast_loss import Anchors, Keys, PeerContrastLoss, ready_together
from .pseudo_label_loss import PseudoLabelLoss

__all__ = [
    'Anchors',
    'BalancedCrossEntropy',
    'DirectionalContrastLoss',
    'Keys',
    'MaskedLovaszLoss',
    'OHEMLoss',
    'PeerContrastLoss',
    'PseudoLabelLoss',
    'balanced',
    'ready_together',
]
