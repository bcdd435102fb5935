"""The contrast with a class-wise bank against the published way: time, extra memory.

What is computed, forward and backward: the mean over the classes of the weighted cosine
distances of features and the keys of their class. The parts:

- distance: all weights equal, gradient to the features;
- whole: the weights are those of attention modules of both sides, of which each class
  has its own; gradient to the features and to all attention modules.

The forms, of the same inputs and the same weights:

- tiles: mmsemiseg.functional.weighted_cosine and mmsemiseg.models.heads.ClassAttention;
- published: a loop over the classes with a mask, the modules of a class one by one, the
  matrix of all distances of a class, and the weights repeated over it.

Before the clock runs, values and gradients of both are compared. Then the forms take
turns in one process; the ratio is that of the medians. The memory is the peak of a
child process for each form, from its inputs on, minus that of a child which stops at
the inputs (on CUDA: of allocated tensors). On a CPU the C library keeps freed memory,
as in training with env_cfg.keep_freed_memory=True.

examples:
  python tools/benchmark/bank_contrast.py --threads 2
  python tools/benchmark/bank_contrast.py --skew --parts whole --classes 150
"""

import argparse
import copy
import json
import sys
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmsemiseg.benchmark.forms import (  # noqa: E402
    add_options,
    extra_memory,
    in_turn,
    memory_table,
    peak_of,
    ratio_table,
    time_table,
    timed_passes,
    times_faster,
)
from mmsemiseg.benchmark.process import child_command, last_line, use_device  # noqa: E402
from mmsemiseg.benchmark.report import surroundings, surroundings_lines  # noqa: E402
from mmsemiseg.functional import weighted_cosine
from mmsemiseg.models.heads import ClassAttention
from mmsemiseg.utils.memory import keep_freed_memory

TARGETS = dict(distance=4.0, whole=2.5)  # times faster than the published form
SKEW = 1.5  # of label frequencies: class r has a share in proportion to r ** -SKEW
TOLERANCE = 1e-2  # of the norm: at the kink of LeakyReLU float32 is a matter of luck
SIZES = 'M x N x D / C'


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    grid = dict(type=int, nargs='+', metavar='N')
    parser.add_argument('--rows', default=[20_000], help='M, default: 20000', **grid)
    parser.add_argument('--keys', default=[256], help='default: 256 a class', **grid)
    parser.add_argument('--dim', default=[256], help='default: 256', **grid)
    parser.add_argument('--classes', default=[19, 150], help='default: 19 150', **grid)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument(
        '--skew', action='store_true', help='labels as in real images, not uniform'
    )
    add_options(parser, repeats=9)
    args = parser.parse_args(argv)
    if min(args.repeats, *args.dim, *args.classes) < 1:
        parser.error('--repeats, --dim and --classes must be at least 1')
    if min(args.keys) < 2 or min(args.rows) <= max(args.classes):
        parser.error('--keys must be at least 2, --rows more than --classes')
    return args


# What is measured


class Case(NamedTuple):
    rows: int
    keys: int
    dim: int
    classes: int
    skew: bool = False

    def inputs(self, device: str) -> 'Inputs':
        """Rows and keys around a centre of their class, and both forms of attention."""
        g = torch.Generator(device).manual_seed(0)
        make = dict(generator=g, device=device)
        share = torch.ones(self.classes, device=device)
        if self.skew:
            share = torch.arange(1.0, 1 + self.classes, device=device) ** -SKEW
        group = torch.multinomial(share, self.rows, replacement=True, generator=g)
        centres = torch.randn(self.classes, 1, self.dim, **make)
        features = torch.randn(self.rows, self.dim, **make)
        features += centres[group, 0]
        keys = torch.randn(self.classes, self.keys, self.dim, **make)
        keys += centres
        torch.manual_seed(0)
        published = [published_modules(self.classes, self.dim) for _ in range(2)]
        return Inputs(
            features,
            group,
            keys,
            [same_attention(modules).to(device) for modules in published],
            [modules.to(device) for modules in published],
        )


class Inputs(NamedTuple):
    """Attention of the rows and of the keys, in our form and in the published one."""

    features: Tensor
    group: Tensor
    keys: Tensor
    attention: list[ClassAttention]
    published: list[nn.ModuleList]


def published_modules(classes: int, dim: int) -> nn.ModuleList:
    """A small network for each class; the sigmoid follows."""
    return nn.ModuleList(
        nn.Sequential(
            nn.Linear(dim, dim),
            nn.BatchNorm1d(dim),
            nn.LeakyReLU(0.2),
            nn.Linear(dim, 1),
        )
        for _ in range(classes)
    )


@torch.no_grad()
def same_attention(modules: nn.ModuleList) -> ClassAttention:
    """Our form with the weights of the published one."""
    attention = ClassAttention(len(modules), modules[0][0].in_features)
    for name, parameter in attention.named_parameters():
        for index, module in enumerate(modules):
            parameter[index] = PARAMETERS[name](module)
    return attention


# Name in ClassAttention -> the same of a module of one class
PARAMETERS: dict[str, Callable[[nn.Sequential], Tensor]] = dict(
    first=lambda module: module[0].weight.T,
    norm_weight=lambda module: module[1].weight,
    norm_bias=lambda module: module[1].bias,
    second=lambda module: module[3].weight[0],
    second_bias=lambda module: module[3].bias[0],
)


def tiles(inputs: Inputs, features: Tensor, whole: bool) -> Tensor:
    group, keys = inputs.group, inputs.keys
    filled = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
    weights = key_weights = None
    if whole:
        of_rows, of_keys = inputs.attention
        weights, key_weights = of_rows(features, group), of_keys.of_keys(keys, filled)
    return weighted_cosine(features, group, keys, filled, weights, key_weights)


def published(inputs: Inputs, features: Tensor, whole: bool) -> Tensor:
    loss = 0
    for number, keys in enumerate(inputs.keys):
        rows = features[inputs.group == number]
        if len(rows) < 2:
            continue
        cosine = F.normalize(rows, dim=1) @ F.normalize(keys, dim=1).T
        distance = 1 - cosine
        if whole:
            of_rows, of_keys = (modules[number] for modules in inputs.published)
            weights = _mean_one(of_rows(rows.detach()).sigmoid())
            key_weights = _mean_one(of_keys(keys).sigmoid())
            distance = distance * weights.repeat(1, len(keys))
            distance = distance * key_weights.T.repeat(len(rows), 1)
        loss = loss + distance.mean()
    return loss / len(inputs.keys)


def _mean_one(scores: Tensor) -> Tensor:
    return len(scores) * scores / scores.sum()


FORMS: dict[str, Callable[..., Tensor]] = dict(tiles=tiles, published=published)
PARTS = dict(distance=False, whole=True)


def run_form(form: str, part: str, inputs: Inputs) -> dict:
    """Once: the value, and the seconds of both passes; gradients are left."""
    features = inputs.features.detach().requires_grad_()
    for module in (*inputs.attention, *inputs.published):
        module.zero_grad()
    value, seconds = timed_passes(lambda: FORMS[form](inputs, features, PARTS[part]))
    return dict(**seconds, value=value, features=features.grad)


def results(done: dict, form: str, part: str, inputs: Inputs) -> dict[str, Tensor]:
    """Value and all gradients of a run."""
    found = dict(value=done['value'], features=done['features'])
    for side, ours, theirs in zip(
        ('rows', 'keys'), inputs.attention, inputs.published, strict=True
    ):
        if PARTS[part] and form == 'published':
            ours = same_attention(of_gradients(theirs))
        for name, parameter in ours.named_parameters() if PARTS[part] else ():
            grad = parameter.grad if form == 'tiles' else parameter.detach()
            found[f'attention of {side}, {name}'] = grad
    return found


@torch.no_grad()
def of_gradients(modules: nn.ModuleList) -> nn.ModuleList:
    """A copy with the gradients as values, 0 of classes without rows."""
    twin = copy.deepcopy(modules)
    for mine, parameter in zip(twin.parameters(), modules.parameters(), strict=True):
        mine.copy_(0 if parameter.grad is None else parameter.grad)
    return twin


# Time and memory


def measure(case: Case, part: str, args, device: str) -> dict:
    """Both forms of a part of the term."""
    seconds = measure_time(case, part, args.repeats, device)
    result = dict(
        **case._asdict(),
        part=part,
        seconds=seconds,
        **times_faster(seconds, 'tiles', 'published'),
        target=TARGETS[part],
    )
    if not args.no_memory:
        result['memory'] = measure_memory(case, part, args)
    return result


def measure_time(case: Case, part: str, repeats: int, device: str) -> dict:
    """Form -> forward, backward -> seconds of each repeat, after one not counted."""
    inputs = case.inputs(device)
    found = {
        form: results(run_form(form, part, inputs), form, part, inputs)
        for form in FORMS
    }
    check_equal(*found.values())
    del found
    return in_turn(FORMS, repeats, lambda form: run_form(form, part, inputs))


def check_equal(ours: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        gap = (ours[name] - value).norm() / value.norm()
        if not gap <= TOLERANCE:
            raise ValueError(f'the forms differ in {name} by {gap:.2g}')


def measure_memory(case: Case, part: str, args) -> dict[str, float]:
    """Form -> MiB on top of the inputs."""
    command = child_command(__file__, args)
    for name in ('rows', 'keys', 'dim', 'classes'):
        command += [f'--{name}', str(getattr(case, name))]
    command += ['--skew'] * case.skew + ['--parts', part, '--measure']
    return extra_memory(FORMS, lambda form: last_line([*command, form]))


def peak_of_form(form: str, part: str, case: Case, device: str) -> float:
    """In the child process."""
    inputs = case.inputs(device)
    keep_freed_memory()
    return peak_of(form, lambda form: run_form(form, part, inputs))


# Output


def report(result: dict) -> str:
    columns = [SIZES, 'labels', 'part'], _names, result['cases']
    parts = [surroundings_lines(result['about']), time_table(*columns)]
    parts += [ratio_table(*columns), memory_table(*columns, 'published')]
    return '\n\n'.join(filter(None, parts))


def _names(case: dict) -> list[str]:
    sizes = '{rows} x {keys} x {dim} / {classes}'.format(**case)
    return [sizes, 'skewed' if case['skew'] else 'uniform', case['part']]


def measure_grid(args, device: str) -> dict:
    about = surroundings(None, 0, device)
    sizes = product(args.rows, args.keys, args.dim, args.classes, [args.skew])
    cases = [
        measure(Case(*size), part, args, device)
        for size in sizes
        for part in args.parts
    ]
    return dict(about=about, cases=cases)


def main(argv=None) -> int:
    args = parse_args(argv)
    device = use_device(args.device, args.threads)
    if args.measure is not None:
        sizes = (args.rows, args.keys, args.dim, args.classes)
        case = Case(*(values[0] for values in sizes), args.skew)
        print(peak_of_form(args.measure, args.parts[0], case, device))
        return 0
    if device == 'cpu':
        keep_freed_memory()
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
