"""Names of the stages of a training step, for profilers."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch.profiler import record_function

PREFIX = 'mmsemiseg/'

Watcher = Callable[[str], AbstractContextManager]
_watchers: list[Watcher] = []


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Name what runs inside, or in the decorated function, as a stage of the step.

    ``torch.profiler`` shows it as ``mmsemiseg/<name>``. Without a profiler or a watcher
    nothing is recorded.

    Args:
        name: Name of the stage, such as ``'contrast'``.
    """
    if not _watchers and not torch.autograd._profiler_enabled():
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(record_function(f'{PREFIX}{name}'))
        for watcher in _watchers:
            stack.enter_context(watcher(name))
        yield


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Enter ``watcher(name)`` around each stage that runs inside.

    >>> from contextlib import nullcontext
    >>> def tell(name):
    ...     print(name)
    ...     return nullcontext()
    >>> with watched(tell), stage('contrast'):
    ...     pass
    contrast
    """
    _watchers.append(watcher)
    try:
        yield
    finally:
        _watchers.remove(watcher)
