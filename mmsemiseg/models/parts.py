"""Components of a method, which are built from settings nested under their name."""

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from mmseg.registry import MODELS

from ..utils.settings import did_you_mean
from .moved_settings import moved_to


def build_part(
    cfg: Mapping | None,
    name: str,
    *args,
    base: type | tuple[type, ...] = object,
    default: Mapping | None = None,
    **given,
):
    """Build a component from its config; errors of its settings begin with ``name``.

    Args:
        cfg: Settings ``dict(type=..., ...)``, where ``type`` is the name of a class in
            the registry ``MODELS`` of mmseg, or the class; None: build nothing.
        name: Setting that holds ``cfg``, such as ``'contrast'`` or ``'model.mix'``.
        args: Positional arguments of the class, in front of its settings.
        base: Class that the component must be an instance of.
        default: Settings for what ``cfg`` leaves out, used if ``cfg`` has the same
            ``type`` or none.
        given: Keyword arguments that the code chooses, not the user.

    Raises:
        ValueError: ``cfg`` is no mapping, its class is not registered or no subclass of
            ``base``, or a setting is unknown, missing or wrong.

    >>> build_part(dict(type='CutMix', area=5), 'model.mix')
    Traceback (most recent call last):
    ValueError: model.mix.area must be (low, high) with 0 < low <= high <= 1, but got 5
    """
    if cfg is None:
        return None
    if not isinstance(cfg, Mapping):
        raise ValueError(f'{name} must be dict(type=..., ...) or None, but got {cfg!r}')
    settings = dict(cfg)
    if default and settings.get('type', default['type']) == default['type']:
        settings = {**default, **settings}
    part = _find(settings.pop('type', None), name, base)
    _check_names(part, name, len(args), settings, given)
    with errors_in(name, inspect.signature(part).parameters):
        return part(*args, **settings, **given)


@contextmanager
def errors_in(name: str, settings: Collection[str] = ()) -> Iterator[None]:
    """Errors that begin with a setting get its full path, others the path in front.

    >>> with errors_in('model.contrast', ['temperature']):
    ...     raise ValueError('temperature must be > 0, but got 0')
    Traceback (most recent call last):
    ValueError: model.contrast.temperature must be > 0, but got 0
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        first = re.match(r'\w*', text).group()
        joint = '.' if first in settings or re.match(r'\w+\.\w', text) else ': '
        raise type(error)(f'{name}{joint}{text}') from error


def merged(default: Mapping, cfg: Mapping | None) -> dict | None:
    """Settings completed by the default ones of the same type; None stays None."""
    if (
        not isinstance(cfg, Mapping)
        or cfg.get('type', default['type']) != default['type']
    ):
        return cfg
    return {**default, **cfg}


def check_settings(method: type, settings: Mapping) -> None:
    """Refuse settings that a method does not have, and say where they belong.

    Raises:
        ValueError: A setting is none of the method's and its bases'. The message names
            the component that has it, its place if it has moved, or a similar name.
    """
    known: dict[str, object] = {}
    for base in method.__mro__:
        found = list(inspect.signature(base.__init__).parameters.values())[1:]
        plain = [one for one in found if one.kind is not one.VAR_KEYWORD]
        known = {one.name: one.default for one in plain} | known
        if plain == found:
            break
    for name in settings:
        if name not in known:
            raise ValueError(
                f'model has no setting {name!r}{_moved(method, name, known)}: '
                f'{method.__name__} has {sorted(known)}'
            )


def _moved(method: type, name: str, known: Mapping) -> str:
    """Where the setting is, or a similar name, as a question to end an error with."""
    place = moved_to(method, name)
    if place is not None:
        return f', which is now {place}'
    found = []
    for part, default in known.items():
        if isinstance(default, Mapping) and 'type' in default:
            cls = MODELS.get(default['type'])
            if cls is not None and name in inspect.signature(cls).parameters:
                found.append(f'{part}.{name}')
    return (
        f' (did you mean {" or ".join(found)}?)' if found else did_you_mean(name, known)
    )


def _find(kind, name: str, base) -> Callable:
    part = MODELS.get(kind) if isinstance(kind, str) else kind
    if isinstance(part, type) and issubclass(part, base):
        return part
    known = sorted(
        key
        for key, value in MODELS.module_dict.items()
        if base is not object and isinstance(value, type) and issubclass(value, base)
    )
    raise ValueError(
        f'{name}.type must be in {known}, or a class of your own that is registered in '
        f'MODELS of mmseg, but got {kind!r}{did_you_mean(kind, known)}'
    )


def _check_names(part, name: str, skipped: int, settings: Mapping, given: Mapping):
    parameters = list(inspect.signature(part).parameters.values())[skipped:]
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return
    known = [one.name for one in parameters if one.name not in given]
    for key in settings:
        if key not in known:
            raise ValueError(
                f'{name} has no setting {key!r}{did_you_mean(key, known)}: '
                f'{part.__name__} has {known}'
            )
    for one in parameters:
        needed = one.default is one.empty and one.kind is not one.VAR_POSITIONAL
        if needed and one.name not in settings and one.name not in given:
            raise ValueError(
                f'{name} must have the setting {one.name!r}, which {part.__name__} '
                'needs'
            )
