"""The contrast of a method against other forms of it: time, extra memory.

What is computed, forward and backward to the rows, and the other forms of it:

- cac: the logsumexp of the logits of each row over the keys of other classes.
  `chunked`: the fallback of ours, where PyTorch has no attention kernel;
  `matrix`: all logits at once, masked, autograd;
  `checkpoint`: chunks of 8 000 keys under torch.utils.checkpoint, as published code.
- cmb: the mean over the classes of the cosine distances of rows and the keys of their
  class; with equal weights (`distance`), or with those of attention modules of both
  sides, of which each class has its own (`whole`).
  `published`: class by class, with the matrix of all distances and repeated weights.
- ctt: the contrast of confident rows with the bank of their class (`high`), and of
  those that are less confident than their peer with it, against two banks (`low`).
  `matrix`: the logits of all rows and keys at once, masked, autograd.
- esl: the InfoNCE of each row with a random key of the queue of its part and 255 of the
  other queues, five for each class; rows of a part share these 255 (`part`), or each
  row has its own (`anchor`).
  `gather`: a copy of its keys for each row, autograd.

Variants with `skewed` labels give class r a share in proportion to r ** -1.5; in those
with `half`, half of the rows are of the level and ours leaves out the others on a CPU.

Keys, classes and temperature are those of the contrast in a config; --keys are all
(cac) or those of each queue. Values and gradients of all forms are compared first. Then
the forms take turns in one process; `times` is the ratio of the median to that of ours,
`single` the range of those of each turn. The memory is the peak of a child process for
each form, from its inputs on, minus that of a child which stops at the inputs (on CUDA:
of allocated tensors). On a CPU the C library keeps freed memory, as in training with
env_cfg.keep_freed_memory=True.

examples:
  python tools/benchmark/contrast.py --method cac --threads 2
  python tools/benchmark/contrast.py --method cmb --classes 19 150 --variants whole
"""

import argparse
import statistics
from inspect import signature
from itertools import product
from pathlib import Path

from mmseg.registry import MODELS

from mmsemiseg.benchmark.contrast_forms import METHODS, Case
from mmsemiseg.benchmark.forms import (
    check_equal,
    extra_memory,
    in_turn,
    peak_of,
    totals,
)
from mmsemiseg.benchmark.process import child_command, last_line, use_device
from mmsemiseg.benchmark.report import surroundings, table, tell
from mmsemiseg.models.parts import merged
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.launch import load_config
from mmsemiseg.utils.memory import keep_freed_memory

CONFIGS = {name: f'{name}_deeplabv3plus-r50_synthetic-320.py' for name in METHODS}


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--method', choices=METHODS, required=True)
    parser.add_argument('--config', help="[the method's in configs/benchmark]")
    for option in ('--rows', '--keys', '--dim', '--classes'):
        parser.add_argument(option, type=int, nargs='+', metavar='N')
    parser.add_argument('--variants', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument('--forms', nargs='+', metavar='NAME', help='default: all')
    parser.add_argument('--repeats', type=int, default=7, help='default: 7')
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='default: as found')
    parser.add_argument('--threads', type=int, help="default: PyTorch's")
    parser.add_argument('--no-memory', action='store_true', help='leave the memory out')
    parser.add_argument('--out', type=Path, metavar='FILE', help='JSON of all figures')
    parser.add_argument('--measure', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    method = METHODS[args.method]
    for name, known in (('variants', method.variants), ('forms', method.forms)):
        found = getattr(args, name) or list(known)
        setattr(args, name, found)
        if not set(found) <= set(known):
            parser.error(f'--{name} must be of {list(known)}, but got {found}')
    sizes = [args.rows, args.keys, args.dim, args.classes]
    if args.repeats < 1 or any(min(size) < 2 for size in sizes if size):
        parser.error('--repeats must be at least 1, sizes at least 2')
    return args


def cases_of(args: argparse.Namespace) -> list[Case]:
    """All sizes and variants, where not given those of the config."""
    cfg = load_config(args.config or CONFIGS[args.method])
    method, part = METHODS[args.method], part_settings(cfg.model)
    sizes = product(
        args.rows or [method.rows],
        args.keys or [method.keys(part)],
        args.dim or [method.dim],
        args.classes or [cfg.model.student.decode_head.num_classes],
        args.variants,
        [part.get('temperature', 1.0)],
    )
    return [Case(*size) for size in sizes]


def part_settings(model: dict) -> dict:
    """Settings of the contrast of a model, with the default ones."""
    default = _defaults(MODELS.get(model['type'])).get('contrast')
    part = merged(default, model.get('contrast', default)) if default else None
    part = part or model.get('contrast')
    if not part:
        raise ValueError(f'the model of the config, a {model["type"]}, has no contrast')
    return {**_defaults(MODELS.get(part['type'])), **part}


def _defaults(cls: type) -> dict:
    found = signature(cls.__init__).parameters.values()
    return {one.name: one.default for one in found if one.default is not one.empty}


def measure(case: Case, args: argparse.Namespace, device: str) -> dict:
    """Seconds of each repeat of every form, and MiB on top of the inputs."""
    method = METHODS[args.method]
    inputs = method.inputs(case, device)
    first = method.run(args.forms[0], case, inputs)
    for form in args.forms[1:]:
        check_equal(first, method.run(form, case, inputs), form, method.tolerance)
    del first
    seconds = in_turn(args.forms, args.repeats, lambda f: method.run(f, case, inputs))
    result = dict(**case._asdict(), seconds=seconds)
    if not args.no_memory:
        command = child_command(__file__, args) + ['--method', args.method]
        command += ['--config', args.config] * bool(args.config)
        for name in ('rows', 'keys', 'dim', 'classes'):
            command += [f'--{name}', str(getattr(case, name))]
        command += ['--variants', case.variant, '--measure']
        result['memory'] = extra_memory(
            args.forms, lambda form: last_line([*command, form])
        )
    return result


def report(cases: list[dict]) -> str:
    rows, memory = [], 'memory' in cases[0]
    for case in cases:
        both = {form: totals(passes) for form, passes in case['seconds'].items()}
        first = next(iter(both))
        for form, passes in case['seconds'].items():
            times = [*map(statistics.median, (*passes.values(), both[form]))]
            each = [b / a for a, b in zip(both[first], both[form], strict=True)]
            ratio = times[-1] / statistics.median(both[first])
            cells = [*(f'{1e3 * one:.1f}' for one in times), f'{ratio:.2f}']
            cells.append(f'{min(each):.2f} to {max(each):.2f}')
            if memory:
                extra, ours = case['memory'][form], case['memory'][first]
                cells += [f'{extra:.0f}', f'{extra / max(ours, 1e-9):.2f}']
            name = '{rows} x {keys} x {dim} / {classes}'.format(**case)
            rows.append([name, case['variant'], form, *cells])
    numbers = ['forward ms', 'backward ms', 'both ms', 'times', 'single']
    numbers += ['extra MiB', 'times'] * memory
    head = ['rows x keys x dim / classes', 'variant', 'form', *numbers]
    return table(_distinct(head), rows, numbers=len(numbers))


def _distinct(head: list[str]) -> list[str]:
    """PrettyTable wants each name once."""
    return [f'{name} ' if name in head[:i] else name for i, name in enumerate(head)]


def main(argv=None) -> int:
    args = parse_args(argv)
    device = use_device(args.device, args.threads)
    cases = cases_of(args)
    if device == 'cpu' and args.measure is None:
        keep_freed_memory()
    if args.measure is not None:
        method = METHODS[args.method]
        inputs = method.inputs(cases[0], device)
        keep_freed_memory()
        print(peak_of(args.measure, lambda f: method.run(f, cases[0], inputs)))
        return 0
    found = [measure(case, args, device) for case in cases]
    about = surroundings(args.config or CONFIGS[args.method], 0, device)
    tell(about, report(found), dict(cases=found), args.out)
    return 0


if __name__ == '__main__':
    exit_with(main)
