"""Which data preprocessor a method takes: its own setting or its student's."""

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmseg.models import SegDataPreProcessor
from mmseg.registry import MODELS
from torch import nn

SEMI = 'SemiDataPreProcessor'
OTHER = (
    'takes no streams. Give a SemiDataPreProcessor or a subclass of it; a plain '
    'SegDataPreProcessor is converted'
)


def semi_preprocessor(given: Any, students: Mapping | None = None) -> Any:
    """The config, or module, of a preprocessor that takes streams.

    Args:
        given: Config or module in ``model.data_preprocessor``. MMEngine's Runner fills
            it in from the ``data_preprocessor`` at the top of a config if the model has
            none.
        students: Config in ``model.student.data_preprocessor``.

    Raises:
        ValueError: The chosen one takes no streams and cannot be converted.
    """
    if isinstance(given, nn.Module):
        if not isinstance(given, MODELS.get(SEMI)):
            raise ValueError(f'data_preprocessor {type(given).__name__} {OTHER}')
        return given
    chosen = choose_preprocessor(given, students)
    return dict(type=SEMI) if chosen is None else _converted(chosen)


def choose_preprocessor(
    given: Mapping | None, students: Mapping | None
) -> Mapping | None:
    """The student's own, unless the method is given one that takes streams.

    So it is in MMSegmentation: the model's own comes before that of the config's top.

    Example:
        >>> own = dict(type='SegDataPreProcessor', size=(8, 8))
        >>> choose_preprocessor(dict(own, size=(8, 8)), own) is own
        True
    """
    if given is None or students is None:
        return students if given is None else given
    if _takes_streams(given):
        return given
    names = sorted({*given, *students} - {'type'})
    differing = [name for name in names if given.get(name) != students.get(name)]
    if differing:
        print_log(
            'data_preprocessor and model.student.data_preprocessor differ in '
            f"{', '.join(differing)}: the student's is used. To use the other give "
            f"it as model.data_preprocessor with type='{SEMI}'",
            'current',
            logging.WARNING,
        )
    return students


def _converted(cfg: Mapping) -> dict:
    """Convert a plain preprocessor to one with the same settings for streams."""
    if _takes_streams(cfg):
        return dict(cfg)
    if _class_of(cfg) not in (None, SegDataPreProcessor):
        raise ValueError(f'data_preprocessor {_class_of(cfg).__name__} {OTHER}')
    settings = dict(cfg, type=SEMI)
    if settings.pop('batch_augments', None) is not None:
        raise ValueError(
            'data_preprocessor.batch_augments would augment a whole batch, of '
            'which semi-supervised training has several: remove it, and use the '
            'mixing of the method (model.mix) or transforms of the pipelines'
        )
    return settings


def _takes_streams(cfg: Mapping) -> bool:
    kind, semi = _class_of(cfg), MODELS.get(SEMI)
    return isinstance(kind, type) and issubclass(kind, semi)


def _class_of(cfg: Mapping) -> type | None:
    """The class that a config's ``type`` means, None if it has none."""
    kind = cfg.get('type')
    if isinstance(kind, str):
        found = MODELS.get(kind)
        if found is None:
            raise ValueError(f'data_preprocessor.type {kind!r} is not registered')
        return found
    return kind
