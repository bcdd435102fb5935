"""Training steps of each method, from the configs of configs/benchmark."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import mmengine.runner.runner
from mmengine.config import Config
from mmengine.runner import Runner

from mmsemiseg.benchmark.generated_run import benchmark_config, prepare, run_steps

CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'benchmark'
METHODS = dict(
    SupOnly='sup-only',
    MeanTeacher='mean-teacher_cutmix',
    FixMatch='fix-match',
    CAC='cac',
    CMB='cmb',
    CTT='ctt',
)
LITE = 'MeanTeacher, Lite0'  # with EfficientNet-Lite0 as the student
SIZES = {(320, 320): (64, 64), (400, 400): (80, 80)}
NARROW = dict(
    MeanTeacher={},
    CAC=dict(contrast=dict(num_negatives=64)),
    CMB=dict(contrast=dict(bank=dict(size=8), proj_hidden=8, proj_channels=8)),
    CTT=dict(contrast=dict(bank=dict(size=8))),
)


def chosen_methods(args, *more: str) -> list[str]:
    if args.methods is None:
        return [*METHODS, *more]
    return [name.strip() for name in args.methods.split(',')]


@contextmanager
def method_config(method: str, small: bool, steps: int = 1000) -> Iterator[Config]:
    """The config of a method, ready for ``steps`` steps on generated images.

    Args:
        method: Name of the method, a key of ``METHODS``, or ``LITE``.
        small: Whether images and networks are small.
        steps: Number of steps that the run takes.
    """
    name = METHODS['MeanTeacher' if method == LITE else method]
    path = CONFIGS / f'{name}_deeplabv3plus-r50_synthetic-320.py'

    def change(cfg: Config) -> None:
        if method == LITE:
            _use_lite(cfg.model.student, small)
        elif small:
            _shrink_student(cfg.model.student)
        if small:
            _shrink_images(cfg.train_dataloader)
            cfg.synthetic.update(size=80, counts=dict(labeled=4, unlabeled=4))
            cfg.merge_from_dict(dict(model=NARROW.get(method, {})))

    with quick_start(), benchmark_config(str(path), None, change) as cfg:
        prepare(cfg, steps)
        yield cfg


@contextmanager
def quick_start() -> Iterator[None]:
    """Leave out what takes long at a run's start: its surroundings, its config file."""
    with (
        patch.object(mmengine.runner.runner, 'collect_env', dict),
        patch.object(Config, 'dump', lambda cfg, path=None: None),
        patch.object(Config, 'pretty_text', ''),
    ):
        yield


def run_method(cfg: Config, step: Callable[[Runner, list], bool]) -> Runner:
    """Call ``step(runner, batches)`` in place of an iteration until it returns True."""

    def make_step(runner: Runner) -> Callable:
        runner.train_loop.own_run_iter = runner.train_loop.run_iter

        def run(batches) -> None:
            done = step(runner, batches)
            runner.train_loop.stop_training = bool(done)

        return run

    return run_steps(cfg, make_step)


def iterate(runner: Runner, batches: list) -> None:
    """A whole iteration: step, hooks."""
    runner.train_loop.own_run_iter(batches)


def _use_lite(student: dict, small: bool) -> None:
    student.backbone = dict(type='EfficientNetLite', output_stride=16)
    student.decode_head.update(in_channels=320, c1_in_channels=24)
    if small:
        student.decode_head.update(channels=8)


def _shrink_student(student: dict) -> None:
    student.backbone.update(depth=18, base_channels=8)
    student.decode_head.update(in_channels=64, c1_in_channels=8, channels=8)


def _shrink_images(part) -> None:
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(value, tuple):
            part[key] = SIZES.get(value, value)
        elif isinstance(value, (dict, list)):
            _shrink_images(value)
