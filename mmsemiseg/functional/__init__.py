"""Pure functions on tensors: no registry, no module, no configuration."""

from .cam import cam_masks, normalised_cam
from .cells import at_cells, logits_at_cells, to_group, to_rows
from .class_attention import class_attention
from .class_balance import balance_weights, class_counts, label_weights
from .compact import may_leave_out, of_a_group, picked, places_of
from .contrast import (
    class_mean,
    class_shares,
    info_nce,
    logsumexp_without,
    masked_mean,
    mean_over_positives,
    paired_logit,
    sampled_logsumexp,
)
from .entropy import entropy_loss
from .geometry import matching_cells, move
from .group_logsumexp import group_logsumexp
from .group_select import rank_in_group, select_per_group
from .mixing import classmix_masks, cutmix_masks, mix, partners
from .own_keys import mean_over_own_keys
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
from .semantic_scores import score_logits, semantic_scores
from .tiles import Tiles, tiles_by_group
from .weighted_cosine import weighted_cosine

__all__ = [
    'PseudoLabel',
    'PseudoLabelStats',
    'Tiles',
    'at_cells',
    'balance_weights',
    'cam_masks',
    'class_attention',
    'class_counts',
    'class_mean',
    'class_shares',
    'classmix_masks',
    'cutmix_masks',
    'ema_decay',
    'entropy_loss',
    'group_logsumexp',
    'info_nce',
    'keep_mask',
    'label_weights',
    'logits_at_cells',
    'logsumexp_without',
    'masked_mean',
    'matching_cells',
    'may_leave_out',
    'mean_over_own_keys',
    'mean_over_positives',
    'mix',
    'move',
    'normalised_cam',
    'of_a_group',
    'paired_logit',
    'partners',
    'picked',
    'pixel_weights',
    'places_of',
    'pseudo_label',
    'pseudo_label_loss',
    'pseudo_label_stats',
    'ramp_up',
    'rank_in_group',
    'sampled_logsumexp',
    'score_logits',
    'select_per_group',
    'semantic_scores',
    'tiles_by_group',
    'to_group',
    'to_rows',
    'weighted_cosine',
]
