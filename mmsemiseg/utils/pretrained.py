"""Pretrained weights that a model config names: found early, or explained."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPException
from pickle import UnpicklingError
from typing import Any

from mmengine.model.weight_init import PretrainedInit

from .package_weights import PACKAGE_WEIGHTS, find_package_weights

WAYS_OUT = (
    'Either give a local file with `--pretrained FILE`, or set `init_cfg=None` (and '
    '`pretrained=None`) to train from scratch'
)

# Types of an init_cfg that loads a file
PRETRAINED = ('Pretrained', 'Pretrained_Part', PretrainedInit)

# What PyTorch says in a RuntimeError about a half or altered file
DAMAGED = ('invalid hash value', 'PytorchStreamReader')


def find_pretrained(cfg: Mapping, name: str = 'model') -> dict[str, str]:
    """Config key -> file or address, of everything that ``init_weights`` will load.

    Args:
        cfg: Config of a model. ``init_cfg=dict(type='Pretrained', checkpoint=...)``,
            also within lists, and ``pretrained='...'`` are found anywhere in it.
        name: Prefix of the keys that are returned.

    Example:
        >>> find_pretrained(dict(backbone=dict(pretrained='a.pth')), 'student')
        {'student.backbone.pretrained': 'a.pth'}
    """
    found = {}
    if isinstance(cfg, Mapping):
        if _is_pretrained(cfg):
            found[f'{name}.checkpoint'] = cfg.get('checkpoint')
        if isinstance(cfg.get('pretrained'), str):
            found[f'{name}.pretrained'] = cfg['pretrained']
        for key, value in cfg.items():
            found |= find_pretrained(value, f'{name}.{key}')
    elif isinstance(cfg, (list, tuple)):
        for index, value in enumerate(cfg):
            found |= find_pretrained(value, f'{name}.{index}')
    return found


def without_pretrained(cfg: Any) -> Any:
    """A copy of a model's config of which ``init_weights`` loads nothing.

    Args:
        cfg: Config of a model, as :func:`find_pretrained` takes it.

    Example:
        >>> init = [dict(type='Pretrained', checkpoint='a.pth'), dict(type='Xavier')]
        >>> without_pretrained(dict(neck=dict(init_cfg=init), pretrained='b.pth'))
        {'neck': {'init_cfg': [{'type': 'Xavier'}]}, 'pretrained': None}
    """
    if isinstance(cfg, Mapping):
        if _is_pretrained(cfg):
            return None
        return {
            key: None
            if key == 'pretrained' and isinstance(value, str)
            else without_pretrained(value)
            for key, value in cfg.items()
        }
    if isinstance(cfg, (list, tuple)):
        return type(cfg)(
            without_pretrained(value) for value in cfg if not _is_pretrained(value)
        )
    return cfg


def _is_pretrained(cfg: Any) -> bool:
    return isinstance(cfg, Mapping) and cfg.get('type') in PRETRAINED


def is_remote(checkpoint: str) -> bool:
    """Whether it is an address (``https://``, ``open-mmlab://``, ...), not a file."""
    return '://' in checkpoint


def check_pretrained(cfg: Mapping, name: str = 'model') -> None:
    """Refuse a config whose pretrained files are not there. Addresses are not tried.

    Raises:
        FileNotFoundError: A local file is missing; names it and its config key. Or the
            package is, in which weights with a name are.
        ValueError: A ``Pretrained`` entry has no ``checkpoint``.
    """
    for key, checkpoint in find_pretrained(cfg, name).items():
        if not isinstance(checkpoint, (str, os.PathLike)):
            raise ValueError(f'{key} must be a file or an address, not {checkpoint!r}')
        if checkpoint in PACKAGE_WEIGHTS:
            find_package_weights(checkpoint)
            continue
        path = os.path.expanduser(os.fspath(checkpoint))
        if not is_remote(path) and not os.path.isfile(path):
            raise FileNotFoundError(
                f'{checkpoint} ({key}), the pretrained weights, is not a file in '
                f'{os.getcwd()}. {WAYS_OUT}'
            )


@contextmanager
def explain_failed_download(cfg: Mapping, name: str = 'model') -> Iterator[None]:
    """Context of ``init_weights`` that says which address failed, and what to do.

    Args:
        cfg: Config that the model was built from.
        name: Prefix of the keys of the config in the message.

    Raises:
        RuntimeError: An address could not be loaded: not reached, not known, damaged,
            or torchvision, which ``torchvision://`` needs, is not installed. Other
            errors pass, and all do where the config names no address.
    """
    try:
        yield
    except (
        OSError,
        HTTPException,
        KeyError,
        ImportError,
        UnpicklingError,
        RuntimeError,
    ) as error:
        damaged = any(sign in str(error) for sign in DAMAGED)
        remote = [
            f'{checkpoint} ({key})'
            for key, checkpoint in find_pretrained(cfg, name).items()
            if is_remote(str(checkpoint))
        ]
        if not remote or (isinstance(error, RuntimeError) and not damaged):
            raise
        raise RuntimeError(
            f'Could not load the pretrained weights {", ".join(remote)}: '
            f'{type(error).__name__}: {error}. {WAYS_OUT}'
        ) from error
