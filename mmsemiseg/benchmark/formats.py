"""A full training step in both precisions and both layouts, in turn."""

import statistics
import time
from collections.abc import Callable

from mmengine.config import Config
from mmengine.runner import Runner

from ..utils.launch import use_amp
from .generated_run import run_steps
from .process import sync
from .report import table

FORMATS = {  # name: (bfloat16, channels_last)
    'fp32': (False, False),
    'fp32, channels_last': (False, True),
    'bf16': (True, False),
    'bf16, channels_last': (True, True),
}


class Started(Exception):
    """Leaves a run in the middle of its training."""


def measure_formats(cfg: Config, repeats: int, warmup: int) -> dict:
    """Seconds of the steps of each format, by the clock and of the CPU, and ratios.

    The runs of all formats stand side by side, with one seed and each with a batch of
    its own that it has drawn; their steps take turns.
    """
    steps = {name: _started(cfg, name, warmup) for name in FORMATS}
    wall, cpu = ({name: [] for name in FORMATS} for _ in range(2))
    for _ in range(repeats):
        for name, step in steps.items():
            sync()
            start = time.perf_counter(), time.process_time()
            step()
            sync()
            wall[name].append(time.perf_counter() - start[0])
            cpu[name].append(time.process_time() - start[1])
    return dict(wall=wall, cpu=cpu, ratios={n: _ratio(wall, n) for n in FORMATS})


def _started(cfg: Config, name: str, warmup: int) -> Callable[[], None]:
    """The step of a run that has done ``warmup`` of them."""
    half, channels_last = FORMATS[name]
    cfg = Config(cfg.to_dict())
    cfg.experiment_name += f'-{name}'
    cfg.channels_last = channels_last
    use_amp(cfg, device=None, dtype='bf16')
    if not half:
        cfg.optim_wrapper.type = 'OptimWrapper'
    steps = []

    def make_step(runner: Runner) -> Callable:
        run_iter, done = runner.train_loop.run_iter, []

        def step(batches) -> None:
            run_iter(batches)
            done.append(batches)
            if len(done) == warmup:
                steps.append(lambda: run_iter(batches))
                raise Started

        return step

    try:
        run_steps(cfg, make_step)
    except Started:
        pass
    return steps[0]


def _ratio(seconds: dict[str, list[float]], name: str) -> float:
    first = next(iter(FORMATS))
    return statistics.median(seconds[name]) / statistics.median(seconds[first])


def formats_table(result: dict) -> str:
    rows = []
    for name, wall in result['wall'].items():
        median = statistics.median(wall)
        cpu = statistics.median(result['cpu'][name])
        numbers = [1e3 * x for x in (median, min(wall), max(wall), cpu)]
        cells = [f'{x:.0f}' for x in numbers]
        cpu_ratio = _ratio(result['cpu'], name)
        rows.append([name, *cells, f'{result["ratios"][name]:.2f}', f'{cpu_ratio:.2f}'])
    head = ['full step', 'ms', 'least', 'most', 'CPU ms', 'ratio', 'ratio of CPU ms']
    repeats = len(next(iter(result['wall'].values())))
    return f'medians of {repeats} steps of each, in turn\n' + table(head, rows)
