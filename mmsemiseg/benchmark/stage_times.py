"""Seconds of the stages of a training step."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from ..utils.profiling import stage, watched
from .process import sync

REST = 'everything else'
OF_OPTIMIZER = dict(backward='backward', step='optimizer', zero_grad='optimizer')


class StageTimes:
    """Seconds of each stage, without those of the stages inside of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]  # seconds of nested stages, of each open one

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._inner.append(0.0)
        sync()
        start = time.perf_counter()
        try:
            yield
        finally:
            sync()
            spent = time.perf_counter() - start
            self.seconds[name] += spent - self._inner.pop()
            self._inner[-1] += spent


@contextmanager
def timed_stages(optim_wrapper) -> Iterator[dict[str, float]]:
    """Seconds of the stages of all that runs inside, by their name.

    Those of the optimizer, which is mmengine's, are named here.
    """
    times = StageTimes()
    with ExitStack() as stack:
        for method, name in OF_OPTIMIZER.items():
            named = stage(name)(getattr(optim_wrapper, method))
            stack.enter_context(patch.object(optim_wrapper, method, named))
        stack.enter_context(watched(times.stage))
        stack.enter_context(times.stage(REST))
        yield times.seconds
