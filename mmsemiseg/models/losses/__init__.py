from .balanced_cross_entropy import BalancedCrossEntropy, balanced
from .directional_contrast_loss import DirectionalContrastLoss
from .ohem_loss import OHEMLoss

__all__ = ['BalancedCrossEntropy', 'DirectionalContrastLoss', 'OHEMLoss', 'balanced']
