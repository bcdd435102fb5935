"""Seconds and peak memory of a training step beside those of its bare passes."""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from check_rows import OK, Rows
from check_setup import chosen_methods, iterate, method_config, run_method
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmsemiseg.benchmark.bare_step import BareStep, recorded_calls
from mmsemiseg.benchmark.process import sync
from mmsemiseg.engine.optim_wrapper import Bf16OptimWrapper
from mmsemiseg.utils.model import unwrap

WARM_UP = 2
REPEATS = 7
FEWEST = 3
SECONDS = 4.0  # of the repeats of one form, if there are at least FEWEST


class Form(NamedTuple):
    """How the steps are computed.

    Args:
        name: Name in the table.
        tf32: Whether convolutions and products round fp32 inputs to TF32.
        wrapper: Class of the optimizer wrapper.
        channels_last: Memory layout of the model.
    """

    name: str
    tf32: bool
    wrapper: type
    channels_last: bool = False


FORMS = (  # the most telling first: the time may not be enough for all
    Form('fp32', False, OptimWrapper),
    Form('bf16', True, Bf16OptimWrapper),
    Form('bf16 channels_last', True, Bf16OptimWrapper, True),
    Form('tf32', True, OptimWrapper),
)


def run(rows: Rows, args) -> None:
    methods = chosen_methods(args)
    for number, method in enumerate(methods):
        share = rows.left / (len(methods) - number)
        with rows.guarded(method):
            if rows.has_time(method, 8):
                check_method(rows, method, args.small, time.monotonic() + share)


def check_method(rows: Rows, method: str, small: bool, end: float) -> None:
    """All forms on one batch, as far as the time allows."""

    def step(runner: Runner, batches: list) -> bool:
        for form in FORMS:
            check = f'{method}, {form.name}'
            if time.monotonic() > end and form is not FORMS[0]:
                rows.has_time(check, float('inf'))
                continue
            with rows.guarded(check), computed(form):
                measure(rows, check, runner, batches, form)
        return True

    with method_config(method, small) as cfg:
        run_method(cfg, step)


@contextmanager
def computed(form: Form) -> Iterator[None]:
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = form.tf32
    try:
        yield
    finally:
        for backend, value in zip(backends, before, strict=True):
            backend.allow_tf32 = value


def measure(rows: Rows, check: str, runner: Runner, batches: list, form: Form) -> None:
    model = unwrap(runner.model)
    runner.optim_wrapper = form.wrapper(optimizer=runner.optim_wrapper.optimizer)
    last = torch.channels_last if form.channels_last else torch.contiguous_format
    model.to(memory_format=last)
    copies = [copy.deepcopy(batches) for _ in range(WARM_UP + REPEATS)]

    def full() -> None:
        iterate(runner, copies.pop())

    for _ in range(WARM_UP):
        with recorded_calls(model) as calls:
            full()
    bare = BareStep(model, runner.optim_wrapper, calls)
    bare()
    seconds, peaks = {}, {}
    for name, run_form in dict(full=full, bare=bare).items():
        seconds[name], peaks[name] = timed(run_form)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    images = sum(loader.batch_size for loader in runner.train_loop.streams.values())
    value = (
        f'step {1e3 * median["full"]:.1f} ms, passes {1e3 * median["bare"]:.1f} ms, '
        f'x{median["full"] / median["bare"]:.3f}, {images / median["full"]:.0f} img/s'
    )
    if torch.cuda.is_available():
        value += f', peak {peaks["full"]:.0f} / {peaks["bare"]:.0f} MiB'
    passes = [call.describe() for call in calls]
    rows.add(check, OK, value, times=seconds, peaks=peaks, passes=passes)


def timed(run_form: Callable[[], None]) -> tuple[list[float], float]:
    """Seconds of each repeat, and MiB of tensors at the peak."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds, begin = [], time.monotonic()
    while len(seconds) < REPEATS:
        if len(seconds) >= FEWEST and time.monotonic() - begin > SECONDS:
            break
        sync()
        start = time.perf_counter()
        run_form()
        sync()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0
    return seconds, peak
