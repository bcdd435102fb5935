"""Settings of a method and its components, by the path that they have in the config."""

from collections.abc import Iterator
from typing import Any

from torch import nn

NETWORKS = ('pairs', 'head_pairs', 'data_preprocessor')


def settings_of(model: nn.Module) -> dict[str, Any]:
    """Settings of a method and of its components: ``'contrast.weight'`` -> value.

    They are read from the public attributes, those of nested components too
    (``'contrast.candidates.start'``). Networks and their layers are left out, and so is
    a component with ``weight`` 0.
    """
    found = dict(_public(model))
    for name, part in vars(model).get('_modules', {}).items():
        if name in NETWORKS or part is None:
            continue
        own = settings_of(part)
        if own.get('weight', 1):
            found.update({f'{name}.{key}': value for key, value in own.items()})
    return found


def _public(thing: Any) -> Iterator[tuple[str, Any]]:
    hidden = ('training', 'init_cfg', 'student_cfg', 'teacher_cfg')
    for name, value in vars(thing).items():
        plain = value is None or isinstance(value, (int, float, str, tuple, dict))
        if plain and not name.startswith('_') and name not in hidden:
            yield name, value
