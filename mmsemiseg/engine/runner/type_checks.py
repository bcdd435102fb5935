"""Types in a config that no one has registered."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry
from mmseg import registry

from ...utils.settings import did_you_mean

# What is at a place of a config: a dict with a type, a dict of those, or a list
PLACES = {
    'model': registry.MODELS,
    'optim_wrapper': registry.OPTIM_WRAPPERS,
    'optim_wrapper.optimizer': registry.OPTIMIZERS,
    'param_scheduler': registry.PARAM_SCHEDULERS,
    'default_hooks': registry.HOOKS,
    'custom_hooks': registry.HOOKS,
    'train_cfg': registry.LOOPS,
    'val_cfg': registry.LOOPS,
    'test_cfg': registry.LOOPS,
    'val_evaluator': registry.METRICS,
    'test_evaluator': registry.METRICS,
    'visualizer': registry.VISUALIZERS,
}


def check_types(cfg: Config | Mapping[str, Any]) -> None:
    """Raise ValueError for the first type that is not registered."""
    text = next(unknown_types(cfg), None)
    if text is not None:
        raise ValueError(text)


def unknown_types(cfg: Config | Mapping[str, Any]) -> Iterator[str]:
    """A message for each type that is not registered, with the setting's name.

    What is nested in a model or a data set is checked when it is built.
    """
    scope = cfg.get('default_scope') or 'mmseg'
    for place, known in PLACES.items():
        for setting, kind in _types(_get(cfg, place), place):
            if text := _unknown(kind, setting, known, scope):
                yield text


def _get(cfg: Any, place: str) -> Any:
    for key in place.split('.'):  # a Config of MMEngine is no Mapping
        cfg = cfg.get(key) if isinstance(cfg, (Mapping, Config)) else None
    return cfg


def _types(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and isinstance(value.get('type'), str):
        yield f'{place}.type', value['type']
    elif isinstance(value, Mapping) and '_hooks' in place:
        for key, item in value.items():
            yield from _types(item, f'{place}.{key}')
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _types(item, f'{place}[{index}]')


def _unknown(kind: str, setting: str, known: Registry, scope: str) -> str:
    with known.switch_scope_and_registry(scope) as found:
        if found.get(kind) is not None:
            return ''
        names: list[str] = []
        while found is not None:
            names += found.module_dict
            found = found.parent
    return (
        f'{setting} must be a registered {known.name}, but got {kind!r}'
        f'{did_you_mean(kind, names)}. The module of a class of your own belongs into '
        'custom_imports'
    )
