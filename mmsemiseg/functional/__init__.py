"""Pure functions on tensors: no registry, no module, no configuration."""

from .cam import cam_masks, normalised_cam
from .cells import at_cells, logits_at_cells, to_rows, valid_labels
from .class_attention import class_attention
from .class_balance import balance_weights, class_counts, label_weights
from .compact import can_drop_rows, drop_unlabeled, take_rows, valid_indices
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
from .multi_positive import multi_positive_info_nce
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
from .soft_label import dynamic_soft_label, top_k_soft_label
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
    'dynamic_soft_label',
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
    'can_drop_rows',
    'multi_positive_info_nce',
    'mean_over_positives',
    'mix',
    'move',
    'normalised_cam',
    'drop_unlabeled',
    'paired_logit',
    'partners',
    'take_rows',
    'pixel_weights',
    'valid_indices',
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
    'valid_labels',
    'to_rows',
    'top_k_soft_label',
    'weighted_cosine',
]
