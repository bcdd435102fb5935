from .directional_contrast_loss import DirectionalContrastLoss
from .ohem_loss import OHEMLoss

__all__ = ['DirectionalContrastLoss', 'OHEMLoss']
