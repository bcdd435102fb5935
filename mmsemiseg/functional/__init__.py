"""Pure functions on tensors: no registry, no module, no configuration."""

from .geometry import move
from .mixing import classmix_masks, cutmix_masks, mix, partners
from .pseudo_label import (
    PseudoLabel,
    PseudoLabelStats,
    keep_mask,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    pseudo_label_stats,
)
from .schedules import ema_decay, ramp_up

__all__ = [
    'PseudoLabel',
    'PseudoLabelStats',
    'classmix_masks',
    'cutmix_masks',
    'ema_decay',
    'keep_mask',
    'mix',
    'move',
    'partners',
    'pixel_weights',
    'pseudo_label',
    'pseudo_label_loss',
    'pseudo_label_stats',
    'ramp_up',
]
