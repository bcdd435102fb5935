"""Hooks that a run must have, and those that it must not have twice."""

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook, ParamSchedulerHook
from mmengine.logging import print_log
from torch import nn

from ..hooks.mean_teacher import MeanTeacherHook
from ..hooks.memory import MemoryHook
from ..hooks.prototype_init import PrototypeInitHook

OF_MMENGINE = {ParamSchedulerHook: 'learning rates would change twice a step'}


def check_repeated(hooks: Sequence[Hook]) -> None:
    """Raise ValueError if a hook that may be there once is there twice.

    These hooks act on the model or its files. Their class has an attribute
    ``why_once``, which says what two of them would do; a subclass counts as its base.
    Others, such as monitors, may be there more than once.
    """
    found: dict[type, list[str]] = {}
    for hook in hooks:
        for kind in type(hook).__mro__:
            if kind in OF_MMENGINE or 'why_once' in vars(kind):
                found.setdefault(kind, []).append(type(hook).__name__)
    for kind, names in found.items():
        if len(names) > 1:
            effect = OF_MMENGINE.get(kind) or kind.why_once
            raise ValueError(
                f'{kind.__name__} is there {len(names)} times ({", ".join(names)}): '
                f'{effect}. Keep one of them; look in default_hooks and custom_hooks, '
                'and in the base configs'
            )


def check_needed(hooks: Sequence[Hook], model: nn.Module) -> None:
    """Raise ValueError if no hook updates the teacher, or fills the memory bank.

    Prototypes that no hook begins before training are told in a warning.
    """
    has_teacher = any(p.teacher is not None for p in getattr(model, 'pairs', ()))
    has_memory = getattr(model, 'has_memory', False)
    if has_teacher and not any(isinstance(hook, MeanTeacherHook) for hook in hooks):
        raise ValueError(
            f'{type(model).__name__} has a teacher, but no hook moves it: add '
            "dict(type='MeanTeacherHook', decay=0.99) to custom_hooks"
        )
    if has_memory and not any(isinstance(hook, MemoryHook) for hook in hooks):
        raise ValueError(
            f'{type(model).__name__} has a memory bank, but no hook fills it: '
            "runner_type='SemiRunner' adds one, or add dict(type='MemoryHook') to "
            'custom_hooks'
        )
    prototypes = getattr(model, 'prototypes', None)
    if prototypes is None or prototypes.known.any():
        return
    if not any(isinstance(hook, PrototypeInitHook) for hook in hooks):
        print_log(
            f'{type(model).__name__} has prototypes, but no hook begins them before '
            'training, so the few features of the first batches do: add '
            "dict(type='PrototypeInitHook') to custom_hooks",
            logger='current',
            level=logging.WARNING,
        )
