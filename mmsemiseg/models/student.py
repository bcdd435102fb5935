"""A student from its config, or an error before the first iteration."""

import copy
from collections.abc import Mapping
from typing import Any

from mmseg.models.decode_heads import PIDHead
from mmseg.models.losses import CrossEntropyLoss, LovaszLoss
from mmseg.registry import MODELS
from torch import nn

from .depthwise import keep_depthwise_type
from .head_losses import speed_up_losses
from .recording import heads_of


def build_student(cfg: Mapping) -> nn.Module:
    """The segmentor of a config, whose losses work on images that are all padding.

    On a CPU its depthwise convolutions compute in float32, and the losses of its heads
    by :func:`speed_up_losses`.

    Raises:
        ValueError: See :func:`check_losses`.
    """
    cfg = copy.deepcopy(cfg)
    _mask_lovasz(cfg)
    student = MODELS.build(cfg)
    check_losses(student)
    keep_depthwise_type(student)
    speed_up_losses(student)
    return student


def check_losses(segmentor: nn.Module) -> None:
    """Refuse cross entropies that raise an IndexError deep in the first iteration.

    Raises:
        ValueError: A loss has ``class_weight`` and ``avg_non_ignore=True``, or one of
            PIDNet reads the ignored label as a class.
    """
    for head in heads_of(segmentor):
        if isinstance(head, PIDHead):
            _check_edge_losses(head)
    for path, loss in segmentor.named_modules():
        if not isinstance(loss, CrossEntropyLoss) or loss.use_sigmoid or loss.use_mask:
            continue
        if loss.class_weight is not None and loss.avg_non_ignore:
            head = path.partition('.loss_decode')[0]
            name = type(segmentor.get_submodule(head)).__name__
            raise ValueError(
                f'{path} of {name}: CrossEntropyLoss with class_weight and '
                'avg_non_ignore=True raises an IndexError in MMSegmentation. Set '
                'avg_non_ignore=False: with class_weight that already is the weighted '
                'mean over the valid pixels. (mmsegmentation 1.2.2 raises it there, '
                'too: leave class_weight out, or take onedl-mmsegmentation)'
            )


def _check_edge_losses(head: PIDHead) -> None:
    losses = head.loss_decode
    several = isinstance(losses, nn.ModuleList) and len(losses) == 4
    if several and not any(isinstance(losses[i], CrossEntropyLoss) for i in (1, 3)):
        return
    raise ValueError(
        f'{type(head).__name__} (PIDNet) must have four losses in loss_decode, the '
        'second and the fourth of type OhemCrossEntropy, as the configs of PIDNet '
        'have: it gives these two no ignore_index, so that CrossEntropyLoss would read '
        'ignored pixels as a class and raise an IndexError'
    )


def check_labels(segmentor: nn.Module, data_samples: list) -> None:
    """Refuse labels without what the segmentor's own loss reads beside the mask.

    Raises:
        ValueError: PIDNet's loss needs a map of edges.
    """
    edges = [h for h in heads_of(segmentor) if isinstance(h, PIDHead)]
    if not edges:
        return
    for sample in data_samples:
        if 'gt_edge_map' not in sample:
            raise ValueError(
                f'{type(edges[0]).__name__} (PIDNet) learns edges too, but '
                f'{sample.get("img_path", "an image")} comes without an edge map: add '
                "dict(type='GenerateEdge', edge_width=4) to the pipeline of the "
                'labeled stream, before it is packed'
            )


def _mask_lovasz(cfg: Any) -> None:
    """In a config each LovaszLoss becomes a MaskedLovaszLoss."""
    if isinstance(cfg, Mapping):
        if cfg.get('type') in ('LovaszLoss', 'mmseg.LovaszLoss', LovaszLoss):
            cfg['type'] = 'MaskedLovaszLoss'
        cfg = list(cfg.values())
    for part in cfg if isinstance(cfg, (list, tuple)) else ():
        _mask_lovasz(part)
