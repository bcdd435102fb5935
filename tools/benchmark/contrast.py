"""The contrast primitive against two usual forms: time, extra memory, growth.

What is computed, forward and backward to the anchors: the logsumexp of the logits of
each anchor over the keys of other groups. The forms:

- kernel: mmsemiseg.functional.group_logsumexp, an attention kernel;
- plain: the same function without a kernel, the fallback;
- materialised: all logits at once, masked, logsumexp, autograd;
- checkpoint: chunks of 8 000 keys under torch.utils.checkpoint, merged by logaddexp.

The forms take turns in one process; the best of the repeats counts. The memory is the
peak of a child process for each form, from its inputs on, minus that of a child which
stops at the inputs (on CUDA: of allocated tensors).

--linear instead measures the kernel at growing numbers of keys.

--cac-table4 instead measures a training step (without drawing the batch) of a CAC
config at the numbers of negatives of Table 4 of its paper, on the same batches. Where
the config has a bank, it is full from the start. The memory is the peak of a child
process for each number.

examples:
  python tools/benchmark/contrast.py --threads 2
  python tools/benchmark/contrast.py --keys 2688 25600 --dim 128 512 --groups 21 105
  python tools/benchmark/contrast.py --linear --out linear.json
  python tools/benchmark/contrast.py --repeats 3 --cac-table4 \\
      configs/benchmark/cac_deeplabv3plus-r50_synthetic-320.py
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmsemiseg.benchmark.forms import (  # noqa: E402
    add_options,
    extra_memory,
    in_turn,
    memory_table,
    peak_of,
    timed_passes,
    totals,
)
from mmsemiseg.benchmark.generated_run import (  # noqa: E402
    benchmark_config,
    prepare,
    run_steps,
)
from mmsemiseg.benchmark.process import (  # noqa: E402
    child_command,
    last_line,
    peak_memory,
    sync,
    use_device,
)
from mmsemiseg.benchmark.report import surroundings, surroundings_lines, table
from mmsemiseg.functional import group_logsumexp
from mmsemiseg.models.memories import StepQueue
from mmsemiseg.models.segmentors import CAC
from mmsemiseg.utils.model import unwrap

TEMPERATURE = 0.1
SIZES = 'A x K x dim / groups'
KEYS_PER_CHUNK = 8000
LINEAR_KEYS = (12_500, 25_000, 50_000, 100_000, 200_000)
TOLERANCE = 1e-3  # of values and gradients between the forms
NEGATIVES = (500, 1000, 2000, 6400, 12_800, 19_200, 25_600)
PAPER_SECONDS = {500: '0.96', 19_200: '1.18'}
PAPER_MEMORY = {500: '+0', 19_200: '+800'}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    grid = dict(type=int, nargs='+', metavar='N')
    parser.add_argument('--anchors', default=[6400], help='default: 6400', **grid)
    parser.add_argument('--keys', help='default: 25600', **grid)
    parser.add_argument('--dim', default=[128], help='default: 128', **grid)
    parser.add_argument('--groups', default=[21], help='default: 21', **grid)
    parser.add_argument('--forms', nargs='+', choices=FORMS, help='default: all')
    parser.add_argument('--linear', action='store_true', help='the kernel, more keys')
    parser.add_argument('--cac-table4', metavar='CONFIG', help='a step of CAC')
    parser.add_argument('--negatives', default=list(NEGATIVES), **grid)
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    add_options(parser, repeats=5)
    parser.add_argument('--measure-step', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.keys = args.keys or list(LINEAR_KEYS if args.linear else [25600])
    args.forms = args.forms or (['kernel'] if args.linear else list(FORMS))
    if min(args.repeats, *args.anchors, *args.keys, *args.dim) < 1:
        parser.error('--repeats, --anchors, --keys and --dim must be at least 1')
    if min(args.groups) < 2:
        parser.error('--groups must be at least 2')
    return args


# What is measured


class Case(NamedTuple):
    anchors: int
    keys: int
    dim: int
    groups: int

    def inputs(self, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows of unit length and random groups, without larger tensors on the way."""
        g = torch.Generator(device).manual_seed(0)
        found = []
        for number in (self.anchors, self.keys):
            rows = torch.randn(number, self.dim, generator=g, device=device)
            rows /= rows.norm(dim=1, keepdim=True)
            found.append(rows)
        for number in (self.anchors, self.keys):
            shape = (number,)
            group = torch.randint(self.groups, shape, generator=g, device=device)
            found.append(group)
        return tuple(found)


def kernel(case, *inputs) -> Tensor:
    return group_logsumexp(*inputs, case.groups, TEMPERATURE)


def plain(case, *inputs) -> Tensor:
    return group_logsumexp(*inputs, case.groups, TEMPERATURE, backend='chunked')


def materialised(case, anchors, keys, anchor_group, key_group) -> Tensor:
    logits = (anchors / TEMPERATURE) @ keys.T
    own = anchor_group[:, None] == key_group
    return logits.masked_fill(own, -torch.inf).logsumexp(1)


def checkpointed(case, anchors, keys, anchor_group, key_group) -> Tensor:
    total = None
    for part, group in zip(
        keys.split(KEYS_PER_CHUNK), key_group.split(KEYS_PER_CHUNK), strict=True
    ):
        lse = checkpoint(
            materialised, case, anchors, part, anchor_group, group, use_reentrant=False
        )
        total = lse if total is None else torch.logaddexp(total, lse)
    return total


FORMS: dict[str, Callable[..., Tensor]] = dict(
    kernel=kernel, plain=plain, materialised=materialised, checkpoint=checkpointed
)


def run_form(form: str, case: Case, inputs: tuple) -> dict:
    """Once: values, gradients, and the seconds of both passes."""
    anchors = inputs[0].detach().requires_grad_()
    lse, seconds = timed_passes(lambda: FORMS[form](case, anchors, *inputs[1:]))
    return dict(**seconds, lse=lse, grad=anchors.grad)


# Time and memory


def measure(case: Case, args, device: str) -> dict:
    """Every form of one case."""
    seconds = measure_time(case, args.forms, args.repeats, device)
    result = dict(**case._asdict(), seconds=seconds, best={})
    for form, passes in seconds.items():
        result['best'][form] = min(totals(passes))
    if not args.no_memory:
        result['memory'] = measure_memory(case, args)
    return result


def measure_time(case: Case, forms: list[str], repeats: int, device: str) -> dict:
    """Form -> forward, backward -> seconds of each repeat, after one not counted."""
    inputs = case.inputs(device)
    expected = None
    for form in forms:
        done = run_form(form, case, inputs)
        expected = expected or (form, done)
        check_equal(*expected, form, done)
    del done, expected
    return in_turn(forms, repeats, lambda form: run_form(form, case, inputs))


def check_equal(form: str, done: dict, other: str, found: dict) -> None:
    for name in ('lse', 'grad'):
        gap = (done[name] - found[name]).abs().max() / done[name].abs().max()
        if not gap <= TOLERANCE:
            raise ValueError(f'{form} and {other} differ in {name} by {gap:.2g}')


def measure_memory(case: Case, args) -> dict[str, float]:
    """Form -> MiB on top of the inputs."""
    command = child_command(__file__, args)
    for name, value in case._asdict().items():
        command += [f'--{name}', str(value)]
    command.append('--measure')
    return extra_memory(args.forms, lambda form: last_line([*command, form]))


def peak_of_form(form: str, case: Case, device: str) -> float:
    """In the child process."""
    inputs = case.inputs(device)
    return peak_of(form, lambda form: run_form(form, case, inputs))


# Steps of CAC


class StepsInTurn:
    """Stands in for ``run_iter``: each batch with every number of negatives in turn."""

    def __init__(self, runner: Runner, negatives: list[int], repeats: int) -> None:
        self.loop = runner.train_loop
        self.run_iter = self.loop.run_iter
        self.model = unwrap(runner.model)
        if not isinstance(self.model, CAC):
            kind = type(self.model).__name__
            raise ValueError(f'--cac-table4 needs model.type=CAC, but it is {kind}')
        bank = self.model.contrast.bank
        self.bank_steps = bank.steps if bank else 0
        cells = 2 * (1 + self.bank_steps)
        if any(number % cells for number in negatives):
            raise ValueError(
                f'--negatives must be multiples of {cells}, two crops in each of '
                f'{1 + self.bank_steps} steps, but got {negatives}'
            )
        self.rounds = 1 + repeats
        self.seconds: dict[int, list[float]] = {number: [] for number in negatives}

    def __call__(self, batches) -> None:
        for number, seconds in self.seconds.items():
            self.set_negatives(number)
            own = copy.deepcopy(batches)
            sync()
            start = time.perf_counter()
            self.run_iter(own)
            sync()
            seconds.append(time.perf_counter() - start)
        self.loop.stop_training = len(seconds) == self.rounds

    def set_negatives(self, number: int) -> None:
        """Cells drawn from each crop's batch, and a bank full of random rows."""
        contrast = self.model.contrast
        contrast.num_negatives = number // (2 * (1 + self.bank_steps))
        if self.bank_steps:
            device, dim = contrast.bank.features.device, contrast.bank.dim
            bank = StepQueue(self.bank_steps, 2 * contrast.num_negatives, dim)
            rows = F.normalize(torch.randn(bank.size, dim, device=device), dim=1)
            shape = (bank.size,)
            labels = torch.randint(self.model.num_classes, shape, device=device)
            contrast.bank = bank.to(device)
            contrast.bank.enqueue(rows, labels)


def time_of_steps(cfg: Config, negatives: list[int], repeats: int) -> dict:
    """Number of negatives -> seconds of each repeat, after one not counted."""
    made = []

    def make_step(runner: Runner) -> StepsInTurn:
        made.append(StepsInTurn(runner, negatives, repeats))
        return made[0]

    run_steps(cfg, make_step)
    return {number: seconds[1:] for number, seconds in made[0].seconds.items()}


def measure_table4(args, device: str) -> dict:
    with benchmark_config(args.cac_table4, args.cfg_options) as cfg:
        prepare(cfg, (1 + args.repeats) * len(args.negatives))
        seed = (cfg.get('randomness') or {}).get('seed')
        about = surroundings(args.cac_table4, seed, device)
        job = Path(cfg.work_dir) / 'job.pt'
        torch.save(cfg.to_dict(), job)
        seconds = time_of_steps(cfg, args.negatives, args.repeats)
        result = dict(about=about, seconds=seconds)
        if not args.no_memory:
            command = child_command(__file__, args)
            command += ['--cac-table4', str(job), '--measure-step']
            result['memory'] = {
                number: float(last_line([*command, str(number)]))
                for number in args.negatives
            }
    return result


def peak_of_steps(job: str, number: int) -> float:
    """In the child process: MiB after two steps."""
    # Holds settings, not tensors alone; the parent process wrote it
    cfg = Config(torch.load(job, weights_only=False))
    cfg.experiment_name += f'-{number}'
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)
    time_of_steps(cfg, [number], repeats=1)
    return peak_memory()


# Output


def table4_report(result: dict) -> str:
    best = {number: min(seconds) for number, seconds in result['seconds'].items()}
    first, memory = next(iter(best)), result.get('memory')
    rows = []
    for number, seconds in best.items():
        median = statistics.median(result['seconds'][number])
        cells = [f'{seconds:.3f}', f'{median:.3f}', f'{seconds / best[first]:.3f}']
        cells.append(PAPER_SECONDS.get(number, ''))
        if memory:
            more = memory[number] - memory[first]
            cells += [f'{memory[number]:.0f}', f'{more:+.0f}']
            cells.append(PAPER_MEMORY.get(number, ''))
        rows.append([number, *cells])
    head = ['negatives', 'best s', 'median s', 'times', "paper's s"]
    if memory:
        head += ['peak MiB', 'more', "paper's MB"]
    return surroundings_lines(result['about']) + '\n\n' + table(head, rows)


def report(result: dict) -> str:
    cases = result['cases']
    if result['linear']:
        parts = [_linear_table(cases)]
    else:
        memory = memory_table(
            [SIZES], lambda case: [_name(case)], cases, 'materialised'
        )
        parts = [_time_table(cases), memory]
    return '\n\n'.join([surroundings_lines(result['about']), *filter(None, parts)])


def _name(case: dict) -> str:
    return '{anchors} x {keys} x {dim} / {groups}'.format(**case)


def _time_table(cases: list[dict]) -> str:
    rows = []
    for case in cases:
        first = next(iter(case['best']))
        for form, best in case['best'].items():
            repeats = case['seconds'][form]
            both = totals(repeats)
            chosen = both.index(best)
            rows.append(
                [
                    _name(case),
                    form,
                    *(f'{repeats[name][chosen]:.3f}' for name in repeats),
                    f'{best:.3f}',
                    f'{statistics.median(both):.3f}',
                    f'{best / case["best"][first]:.2f}',
                ]
            )
    head = f'{SIZES}, form, forward s, backward s, best s, median s, times'
    return table(head.split(', '), rows, numbers=5)


def _linear_table(cases: list[dict]) -> str:
    rows = []
    for case in cases:
        for form, best in case['best'].items():
            per_key = best / case['keys']
            start = next(c for c in cases if _same_but_keys(c, case))
            first = start['best'][form] / start['keys']
            size = 4 * case['keys'] * case['dim'] / 2**20
            cells = [f'{best:.3f}', f'{1e6 * per_key:.2f}', f'{per_key / first:.2f}']
            if 'memory' in case:
                extra = case['memory'][form]
                cells += [f'{size:.1f}', f'{extra:.1f}', f'{extra / size:.2f}']
            rows.append([_name(case), form, *cells])
    head = [SIZES, 'form', 'best s', 'us/key', 'to first']
    if 'memory' in cases[0]:
        head += ['keys MiB', 'extra MiB', 'of keys']
    return table(head, rows, numbers=len(head) - 2)


def _same_but_keys(case: dict, other: dict) -> bool:
    return all(case[name] == other[name] for name in ('anchors', 'dim', 'groups'))


def measure_grid(args, device: str) -> dict:
    sizes = product(args.anchors, args.keys, args.dim, args.groups)
    about = surroundings(None, 0, device)
    cases = [measure(Case(*size), args, device) for size in sizes]
    return dict(about=about, linear=args.linear, cases=cases)


def main(argv=None) -> int:
    args = parse_args(argv)
    device = use_device(args.device, args.threads)
    if args.measure is not None:
        sizes = (args.anchors, args.keys, args.dim, args.groups)
        print(peak_of_form(args.measure, Case(*(x[0] for x in sizes)), device))
        return 0
    if args.measure_step is not None:
        print(peak_of_steps(args.cac_table4, int(args.measure_step)))
        return 0
    if args.cac_table4 is not None:
        result = measure_table4(args, device)
        print(table4_report(result))
    else:
        result = measure_grid(args, device)
        print(report(result))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
