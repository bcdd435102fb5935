"""CTT's contrast against all logits at once: time, extra memory.

What is computed, forward and backward to the anchors. The levels:

- high: each key of an anchor's class in the bank is a positive in turn;
- low: the peer's feature of the cell is the positive; twice as many keys, two banks.

Keys of other classes are the negatives. The mean is over the anchors of each class,
then over the classes. The forms, of the same inputs:

- ours: mmsemiseg.models.losses.PeerContrastLoss;
- matrix: the logits of all anchors and all keys at once, masked, logsumexp,
  softplus (high: of all keys, then those of the own class alone count), autograd.

--active is the share of anchors that a level is for: at the high level the confident
ones, at the low level those that are less confident than their peer. At 1 nothing can
be left out; else ours leaves out the others on a CPU, as in training.

Before the clock runs, values and gradients of both are compared. Then the forms take
turns in one process; the ratio is that of the medians. The memory is the peak of a
child process for each form, from its inputs on, minus that of a child which stops at
the inputs (on CUDA: of allocated tensors). On a CPU the C library keeps freed memory,
as in training with env_cfg.keep_freed_memory=True.

examples:
  python tools/benchmark/peer_contrast.py --threads 2
  python tools/benchmark/peer_contrast.py --levels high --sizes 8192,128,512,19
"""

import argparse
import json
import sys
from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

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
from mmsemiseg.models.losses import Anchors, Keys, PeerContrastLoss
from mmsemiseg.utils.memory import keep_freed_memory

LEVELS = ('high', 'low')
SIZES = ('8192,128,256,19', '33600,128,256,21', '8192,128,2048,19')
TARGET = 1.0  # times faster
MEMORY_TARGET = 0.5  # of the extra memory of the matrix form
TOLERANCE = 1e-3  # of the norm
TEMPERATURE = 0.5
SURE, PEER, UNSURE = 1.0, 0.75, 0.5  # confidences
HEAD = ['A x K x D / C', 'level', 'active']


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--sizes',
        nargs='+',
        type=sizes,
        default=list(map(sizes, SIZES)),
        metavar='A,N,D,C',
        help=f'anchors, keys of a class, dim, classes, default: {" ".join(SIZES)}',
    )
    parser.add_argument('--levels', nargs='+', choices=LEVELS, default=list(LEVELS))
    parser.add_argument(
        '--active', nargs='+', type=float, default=[1.0, 0.5], help='default: 1 0.5'
    )
    add_options(parser, repeats=9)
    args = parser.parse_args(argv)
    if args.repeats < 1:
        parser.error('--repeats must be at least 1')
    if not all(0 < share <= 1 for share in args.active):
        parser.error(f'--active must be in (0, 1], but got {args.active}')
    return args


def sizes(text: str) -> tuple[int, ...]:
    numbers = tuple(map(int, text.split(',')))
    if len(numbers) != 4 or min(numbers) < 1 or numbers[3] < 2:
        raise argparse.ArgumentTypeError(
            f'must be A,N,D,C, at least 1 each and C at least 2, but got {text}'
        )
    return numbers


# What is measured


class Case(NamedTuple):
    """``keys`` are those of one class in one bank."""

    anchors: int
    keys: int
    dim: int
    classes: int
    level: str = 'high'
    active: float = 1.0

    def inputs(self, device: str) -> 'Inputs':
        """Rows of unit length and random classes, without larger tensors on the way."""
        g = torch.Generator(device).manual_seed(0)

        def rows(*shape):
            x = torch.randn(*shape, generator=g, device=device)
            x /= x.norm(dim=-1, keepdim=True)
            return x

        shape = (self.anchors,)
        label = torch.randint(self.classes, shape, generator=g, device=device)
        chosen = torch.rand(shape, generator=g, device=device) < self.active
        confidence = torch.where(chosen == (self.level == 'high'), SURE, UNSURE)
        anchors = Anchors(rows(self.anchors, self.dim), label, confidence)
        peer, number = None, 1
        if self.level == 'low':
            others = torch.full_like(confidence, PEER)
            peer, number = Anchors(rows(self.anchors, self.dim), label, others), 2
        filled = torch.ones(self.classes, self.keys, dtype=torch.bool, device=device)
        banks = [Keys(rows(*filled.shape, self.dim), filled) for _ in range(number)]
        return Inputs(anchors, peer, banks)


class Inputs(NamedTuple):
    anchors: Anchors
    peer: Anchors | None  # at the low level
    banks: list[Keys]


def ours(case: Case, inputs: Inputs, anchors: Anchors) -> Tensor:
    loss = PeerContrastLoss(case.classes, TEMPERATURE)
    if case.level == 'high':
        return loss.high_level(anchors, inputs.banks[0])
    return loss.low_level(anchors, inputs.peer, inputs.banks)


def matrix(case: Case, inputs: Inputs, anchors: Anchors) -> Tensor:
    features, label, confidence = anchors
    parts = zip(*(bank.flat() for bank in inputs.banks), strict=True)
    keys, key_label = map(torch.cat, parts)
    logits = features @ keys.T / TEMPERATURE
    own = label[:, None] == key_label
    negatives = logits.masked_fill(own, -torch.inf).logsumexp(1)
    if case.level == 'high':
        terms = F.softplus(negatives[:, None] - logits) * own
        terms = terms.sum(1) / own.sum(1)
        active = confidence > PEER
    else:
        positive = (features * inputs.peer.features).sum(1) / TEMPERATURE
        terms = F.softplus(negatives - positive)
        active = confidence < inputs.peer.confidence
    count = label.bincount(minlength=case.classes)
    return (active * terms / count[label]).sum() / case.classes


FORMS: dict[str, Callable[..., Tensor]] = dict(ours=ours, matrix=matrix)


def run_form(form: str, case: Case, inputs: Inputs) -> dict:
    """Once: value, gradient, and the seconds of both passes."""
    features = inputs.anchors.features.detach().requires_grad_()
    anchors = inputs.anchors._replace(features=features)
    value, seconds = timed_passes(lambda: FORMS[form](case, inputs, anchors))
    return dict(**seconds, value=value, grad=features.grad)


# Time and memory


def measure(case: Case, args, device: str) -> dict:
    """Both forms of a level."""
    seconds = measure_time(case, args.repeats, device)
    result = dict(
        **case._asdict(),
        seconds=seconds,
        **times_faster(seconds, 'ours', 'matrix'),
        target=TARGET,
        memory_target=MEMORY_TARGET,
    )
    if not args.no_memory:
        result['memory'] = measure_memory(case, args)
    return result


def measure_time(case: Case, repeats: int, device: str) -> dict:
    """Form -> forward, backward -> seconds of each repeat, after one not counted."""
    inputs = case.inputs(device)
    check_equal(*(run_form(form, case, inputs) for form in FORMS))
    return in_turn(FORMS, repeats, lambda form: run_form(form, case, inputs))


def check_equal(found: dict, expected: dict) -> None:
    for name in ('value', 'grad'):
        gap = (found[name] - expected[name]).norm() / expected[name].norm()
        if not gap <= TOLERANCE:
            raise ValueError(f'the forms differ in {name} by {gap:.2g}')


def measure_memory(case: Case, args) -> dict[str, float]:
    """Form -> MiB on top of the inputs."""
    command = child_command(__file__, args)
    command += ['--sizes', ','.join(map(str, case[:4]))]
    command += ['--levels', case.level, '--active', str(case.active), '--measure']
    return extra_memory(FORMS, lambda form: last_line([*command, form]))


def peak_of_form(form: str, case: Case, device: str) -> float:
    """In the child process."""
    inputs = case.inputs(device)
    keep_freed_memory()
    return peak_of(form, lambda form: run_form(form, case, inputs))


# Output


def report(result: dict) -> str:
    columns = HEAD, _names, result['cases']
    parts = [surroundings_lines(result['about']), time_table(*columns)]
    parts += [ratio_table(*columns), memory_table(*columns, 'matrix')]
    return '\n\n'.join(filter(None, parts))


def _names(case: dict) -> list[str]:
    banks = 1 if case['level'] == 'high' else 2
    number = banks * case['classes'] * case['keys']
    name = '{anchors} x {number} x {dim} / {classes}'.format(number=number, **case)
    return [name, case['level'], f'{case["active"]:g}']


def main(argv=None) -> int:
    args = parse_args(argv)
    device = use_device(args.device, args.threads)
    chosen = product(args.sizes, args.levels, args.active)
    cases = [Case(*size, level, active) for size, level, active in chosen]
    if args.measure is not None:
        print(peak_of_form(args.measure, cases[0], device))
        return 0
    if device == 'cpu':
        keep_freed_memory()
    about = surroundings(None, 0, device)
    result = dict(about=about, cases=[measure(case, args, device) for case in cases])
    print(report(result))
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
