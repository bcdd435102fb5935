"""Pure functions on tensors: no registry, no module, no configuration."""

from .anchors import draw_anchors
from .cam import cam_masks, normalised_cam
from .cells import at_cells, logits_at_cells, nearest_map, to_rows, valid_labels
from .class_attention import class_attention
from .class_balance import balance_weights, class_counts, label_weights
from .compact import can_drop_rows, drop_unlabeled, take_rows, valid_indices
from .contrast import (
    class_mean,
    class_shares,
    info_nce,
    logsumexp_without,
    masked_mean,
    paired_logit,
    sampled_logsumexp,
)
from .entropy import entropy_loss
from .geometry import matching_cells
from .group_logsumexp import group_logsumexp
from .group_select import rank_in_group, select_per_group
from .kmeans import KMeans, kmeans
from .mask_losses import dice_terms, focal_terms, union_of_classes
from .matching_costs import dice_costs, focal_costs
from .mixing import classmix_masks, cutmix_masks, image_numbers, mix, partners
from .multi_positive import multi_positive_info_nce
from .parts import assign_parts, part_sums
from .pseudo_label import (
    PseudoLabel,
    PseudoLabelStats,
    keep_mask,
    most_confident,
    pixel_weights,
    pseudo_label,
    pseudo_label_loss,
    pseudo_label_stats,
)
from .region_contrast import mask_similarity, pair_contrast, pooled_features
from .regions import Regions
from .resizing import resize_logits
from .sampled_keys import (
    draw_own_negatives,
    draw_positives,
    draw_shared_negatives,
)
from .schedules import ema_decay, is_turn, ramp_up
from .segments import Segments, query_claims, segments_of_map
from .semantic_scores import score_logits, semantic_scores
from .shared_keys import shared_logsumexp
from .soft_label import dynamic_soft_label, top_k_soft_label
from .tiles import Tiles, tiles_by_group
from .weighted_cosine import weighted_cosine

__all__ = [
    'KMeans',
    'PseudoLabel',
    'PseudoLabelStats',
    'Regions',
    'Segments',
    'Tiles',
    'assign_parts',
    'at_cells',
    'balance_weights',
    'cam_masks',
    'can_drop_rows',
    'class_attention',
    'class_counts',
    'class_mean',
    'class_shares',
    'classmix_masks',
    'cutmix_masks',
    'dice_costs',
    'dice_terms',
    'draw_anchors',
    'draw_own_negatives',
    'draw_positives',
    'draw_shared_negatives',
    'drop_unlabeled',
    'dynamic_soft_label',
    'ema_decay',
    'entropy_loss',
    'focal_costs',
    'focal_terms',
    'group_logsumexp',
    'image_numbers',
    'info_nce',
    'is_turn',
    'keep_mask',
    'kmeans',
    'label_weights',
    'logits_at_cells',
    'logsumexp_without',
    'mask_similarity',
    'masked_mean',
    'matching_cells',
    'mix',
    'most_confident',
    'multi_positive_info_nce',
    'nearest_map',
    'normalised_cam',
    'pair_contrast',
    'paired_logit',
    'part_sums',
    'partners',
    'pixel_weights',
    'pooled_features',
    'pseudo_label',
    'pseudo_label_loss',
    'pseudo_label_stats',
    'query_claims',
    'ramp_up',
    'rank_in_group',
    'resize_logits',
    'sampled_logsumexp',
    'score_logits',
    'segments_of_map',
    'select_per_group',
    'semantic_scores',
    'shared_logsumexp',
    'take_rows',
    'tiles_by_group',
    'to_rows',
    'top_k_soft_label',
    'union_of_classes',
    'valid_indices',
    'valid_labels',
    'weighted_cosine',
]
