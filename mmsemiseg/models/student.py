"""A student from its config, or an error before the first iteration."""

import copy
from collections.abc import Mapping
from typing import Any

from mmseg.models.losses import CrossEntropyLoss, LovaszLoss
from mmseg.registry import MODELS
from torch import nn

from .depthwise import keep_depthwise_type


def build_student(cfg: Mapping) -> nn.Module:
    """The segmentor of a config, with losses that bear padding.

    Its depthwise convolutions are in float32 on a CPU.

    Raises:
        ValueError: See :func:`check_losses`.
    """
    cfg = copy.deepcopy(cfg)
    _mask_lovasz(cfg)
    student = MODELS.build(cfg)
    check_losses(student)
    keep_depthwise_type(student)
    return student


def check_losses(segmentor: nn.Module) -> None:
    """Refuse cross entropies that raise an IndexError deep in the first iteration.

    Raises:
        ValueError: A loss has ``class_weight`` together with ``avg_non_ignore=True``.
    """
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


def _mask_lovasz(cfg: Any) -> None:
    """In a config each LovaszLoss becomes a MaskedLovaszLoss."""
    if isinstance(cfg, Mapping):
        if cfg.get('type') in ('LovaszLoss', 'mmseg.LovaszLoss', LovaszLoss):
            cfg['type'] = 'MaskedLovaszLoss'
        cfg = list(cfg.values())
    for part in cfg if isinstance(cfg, (list, tuple)) else ():
        _mask_lovasz(part)
