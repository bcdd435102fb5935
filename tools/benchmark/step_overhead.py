"""A full training step against the bare passes it contains: time, shares, memory.

The full step is one iteration of the training loop without drawing the batch: data
preprocessing, forward passes, losses, backward, optimizer, hooks (saving of
checkpoints left out). The bare step is what no method can do without, on the very
images that the networks see in a full step:

- the student's own loss() on the labeled batch, forward and backward;
- forward and backward of mean(logits) on the images the student sees otherwise;
- the forwards without gradient (teacher, labeler), each in its mode;
- the optimizer's step.

Both are timed in turn in one process; the ratio is that of their medians. The shares
are timed in separate repeats, which the timers inside slow down a little. The peak of
the memory is that of a process each for the full step, the bare step, and one that
builds the same and does neither.

A config with `synthetic=dict(counts=..., size=...)` gets generated images; with
`full_banks=True` the queues of its memory banks are full of random rows at the start.

With --formats full steps alone are timed, in turn in float32 and bfloat16, each in
both memory layouts.

examples:
  python tools/benchmark/step_overhead.py \\
      configs/benchmark/mean-teacher_cutmix_deeplabv3plus-r18_synthetic-320.py
  python tools/benchmark/step_overhead.py my_config.py --threads 1 --no-memory \\
      --cfg-options train_dataloader.labeled.batch_size=2 --out overhead.json
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import Tensor, nn

from mmsemiseg.models.adapter import SegmentorAdapter
from mmsemiseg.models.batch_augment import BatchAugment
from mmsemiseg.models.heads import ClassAttention, MLPHead
from mmsemiseg.models.losses import PeerContrastLoss
from mmsemiseg.models.segmentors.base import SemiSegmentor
from mmsemiseg.utils.model import unwrap

try:
    import resource
except ImportError:  # Windows
    resource = None

sys.path.insert(0, str(Path(__file__).parent))  # also when this file is imported

from benchmark_common import (  # noqa: E402
    benchmark_config,
    prepare,
    run_steps,
    surroundings,
    surroundings_text,
    table,
)
from benchmark_formats import formats_table, measure_formats  # noqa: E402
from benchmark_process import (  # noqa: E402
    child_command,
    last_line,
    peak_memory,
    sync,
    use_device,
)

FORMS = ('idle', 'bare', 'full')
MEMORY_STEPS = 2
REST = 'everything else'
SMALL = 0.1  # percent of a step: parts with less share a row


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--repeats', type=int, default=7, help='default: 7')
    parser.add_argument(
        '--warmup', type=int, default=2, help='steps before; as many as fill a bank'
    )
    parser.add_argument('--device', choices=['cpu', 'cuda'], help='default: as found')
    parser.add_argument('--threads', type=int, help="default: PyTorch's")
    parser.add_argument(
        '--formats', action='store_true', help='compare precisions and layouts'
    )
    parser.add_argument('--no-memory', action='store_true', help='leave the memory out')
    parser.add_argument('--out', type=Path, metavar='FILE', help='JSON of all figures')
    parser.add_argument('--measure', choices=FORMS, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if min(args.repeats, args.warmup) < 1:
        parser.error('--repeats and --warmup must be at least 1')
    return args


class Call(NamedTuple):
    """One pass of a network inside a full step.

    Args:
        network: Name in ``model.networks``.
        kind: Kind of the pass: ``'loss'`` (the segmentor's own) or ``'forward'`` (up to
            its logits).
        inputs: Detached images (N, 3, H, W).
        data_samples: Data samples of a ``'loss'``; None of a ``'forward'``.
        grad: Whether a gradient is computed.
        modes: Value of ``training`` of each module of the network.
    """

    network: str
    kind: str
    inputs: Tensor
    data_samples: list | None
    grad: bool
    modes: tuple[bool, ...]

    def describe(self) -> dict:
        return dict(
            network=self.network,
            kind=self.kind,
            shape=list(self.inputs.shape),
            grad=self.grad,
            mode='train' if self.modes[0] else 'eval',
        )


@contextmanager
def replaced(owner, name: str, value) -> Iterator[None]:
    """Set an attribute of an object or a module for a while."""
    own = name in vars(owner)
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


# The bare passes


@contextmanager
def recorded_calls(model: SemiSegmentor) -> Iterator[list[Call]]:
    """Collect the passes of all networks, those inside a ``loss()`` only once."""
    calls: list[Call] = []
    inside = []

    def record(name: str, network: nn.Module, kind: str, method: Callable):
        def run(inputs, *args, **kwargs):
            if not inside:
                trained = any(p.requires_grad for p in network.parameters())
                samples = (args or list(kwargs.values()))[0] if kind == 'loss' else None
                calls.append(
                    Call(
                        name,
                        kind,
                        inputs.detach().clone(),
                        samples,
                        torch.is_grad_enabled() and trained,
                        tuple(module.training for module in network.modules()),
                    )
                )
            inside.append(name)
            try:
                return method(inputs, *args, **kwargs)
            finally:
                inside.pop()

        return run

    with ExitStack() as stack:
        for name, network in model.networks.items():
            for method, kind in (('loss', 'loss'), ('extract_feat', 'forward')):
                value = record(name, network, kind, getattr(network, method))
                stack.enter_context(replaced(network, method, value))
        yield calls


class BareStep:
    """Runs recorded passes and one optimizer step that leaves the weights."""

    def __init__(self, model: SemiSegmentor, optim_wrapper, calls: list[Call]) -> None:
        self.model = model
        self.optim_wrapper = optim_wrapper
        self.calls = calls
        self.adapters = {
            name: SegmentorAdapter(network, feature=None)
            for name, network in model.networks.items()
        }

    def __call__(self) -> None:
        wrapper = self.optim_wrapper
        counted = wrapper._inner_count  # of the backward calls in an accumulation
        groups = wrapper.param_groups
        rates = [group['lr'] for group in groups]
        for call in self.calls:
            self._run(call)
        for group in groups:
            group['lr'] = 0.0
        wrapper.step()
        wrapper.zero_grad()
        for group, rate in zip(groups, rates, strict=True):
            group['lr'] = rate
        wrapper._inner_count = counted

    def _run(self, call: Call) -> None:
        network = self.model.networks[call.network]
        for module, mode in zip(network.modules(), call.modes, strict=True):
            module.training = mode
        with torch.set_grad_enabled(call.grad):
            with self.optim_wrapper.optim_context(self.model):
                if call.kind == 'loss':
                    losses = network.loss(call.inputs, call.data_samples)
                    total, _ = self.model.parse_losses(losses)
                else:
                    logits = self.adapters[call.network](network, call.inputs).logits
                    total = logits.mean() if call.grad else None
            if call.grad:
                self.optim_wrapper.backward(total)


# The shares


class Parts:
    """Seconds of named parts; what a part spends in another one is not counted twice.

    Args:
        sync: Function that waits for the device.
    """

    def __init__(self, sync: Callable[[], None]) -> None:
        self.sync = sync
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner: list[float] = []  # time in nested parts, of each open part
        self._closed = 0  # depth of parts that are not split any further

    @contextmanager
    def part(self, name: str, whole: bool = False) -> Iterator[None]:
        if self._closed:
            yield
            return
        self._closed += whole
        self._inner.append(0.0)
        self.sync()
        start = time.perf_counter()
        try:
            yield
        finally:
            self.sync()
            spent = time.perf_counter() - start
            self._closed -= whole
            self.seconds[name] += spent - self._inner.pop()
            if self._inner:
                self._inner[-1] += spent

    def wrap(self, name: str | Callable[[], str], function: Callable) -> Callable:
        def run(*args, **kwargs):
            label = name() if callable(name) else name
            with self.part(label, whole=True):
                return function(*args, **kwargs)

        return run


@contextmanager
def timed_parts(runner: Runner, parts: Parts) -> Iterator[None]:
    """Time the parts of everything that runs inside."""
    with ExitStack() as stack:
        for owner, attribute, label in _places(runner):
            value = parts.wrap(label, getattr(owner, attribute))
            stack.enter_context(replaced(owner, attribute, value))
        yield


def _places(runner: Runner) -> Iterator[tuple]:
    """(owner, attribute, label) of the functions to time."""
    model = unwrap(runner.model)
    yield model.data_preprocessor, 'forward', 'preprocessing'
    for name, network in model.networks.items():
        yield network, 'loss', f'{name}: forward of loss()'
        for owner, attribute in _passes(network):
            yield owner, attribute, _forward_label(name, network)
    for name, child in model.named_children():
        if name not in ('pairs', 'data_preprocessor'):
            yield child, 'forward', f'{name} ({type(child).__name__})'
        if isinstance(child, PeerContrastLoss):
            yield child, 'high_level', 'high level of the contrast'
            yield child, 'low_level', 'low level of the contrast'
    yield from _heads(model)
    for name, value in list(vars(model).items()):
        if isinstance(value, BatchAugment):
            yield model, name, name
    for module in _modules_of(type(model)):
        for name, value in list(vars(module).items()):
            if _is_step_of_method(value):
                yield module, name, f'{value.__name__}()'
    yield model, 'parse_losses', 'parse_losses()'
    yield runner.optim_wrapper, 'backward', 'backward'
    for attribute in ('step', 'zero_grad'):
        yield runner.optim_wrapper, attribute, 'optimizer'
    for hook in runner.hooks:
        for attribute in ('before_train_iter', 'after_train_iter'):
            yield hook, attribute, f'hook {type(hook).__name__}'


def _heads(model: SemiSegmentor) -> Iterator[tuple]:
    """The parts of what is trained beside the networks and followed by a teacher."""
    for pair in model.head_pairs:
        for kind in ('student', 'teacher'):
            for module in getattr(pair, kind).modules():
                label = f'{type(module).__name__} of the {kind}'
                if isinstance(module, (MLPHead, ClassAttention)):
                    yield module, 'forward', label
                if isinstance(module, ClassAttention):
                    yield module, 'of_keys', f'{label}, of keys'


def _passes(network: nn.Module) -> list[tuple[nn.Module, str]]:
    head = network.decode_head
    heads = list(head) if isinstance(head, nn.ModuleList) else [head]
    return [(network, 'extract_feat'), *((head, 'forward') for head in heads)]


def _forward_label(name: str, network: nn.Module) -> Callable[[], str]:
    trained = any(p.requires_grad for p in network.parameters())

    def label() -> str:
        grad = trained and torch.is_grad_enabled()
        return f'{name}: forward' + (' for gradient' if grad else ', no gradient')

    return label


def _modules_of(kind: type) -> list:
    """Python modules of a method and the methods that it derives from."""
    bases = [base for base in kind.__mro__ if issubclass(base, SemiSegmentor)]
    return [sys.modules[name] for name in {base.__module__ for base in bases}]


def _is_step_of_method(value) -> bool:
    place = getattr(value, '__module__', None) or ''
    known = place.startswith(('mmsemiseg.functional.', 'mmsemiseg.models.adapter'))
    return known and callable(value) and not isinstance(value, type)


# The measurement


class Benchmark:
    """Stands in for ``run_iter`` of the training loop, which gives it batches."""

    def __init__(self, runner: Runner, repeats: int, warmup: int) -> None:
        self.runner = runner
        self.loop = runner.train_loop
        self.run_iter = self.loop.run_iter
        self.repeats = repeats
        self.warmup = warmup
        self.calls: list[Call] = []
        self.seconds: dict[str, list[float]] = dict(full=[], bare=[])
        self.system: dict[str, list[dict]] = dict(full=[], bare=[])
        self.parts: dict[str, list[dict]] = dict(full=[], bare=[])
        self._done = 0

    def __call__(self, batches) -> None:
        if self._done < self.warmup:
            self._warm_up(batches)
        elif self._done < self.warmup + self.repeats:
            self._measure(batches)
        else:
            self._profile(batches)
        self._done += 1
        self.loop.stop_training = self._done == self.warmup + 2 * self.repeats

    def _warm_up(self, batches) -> None:
        with recorded_calls(unwrap(self.runner.model)) as self.calls:
            self.run_iter(batches)
        self._bare()()

    def _measure(self, batches) -> None:
        for form, step in self._steps(batches).items():
            sync()
            before, start = system_use(), time.perf_counter()
            step()
            sync()
            self.seconds[form].append(time.perf_counter() - start)
            spent = {k: v - before[k] for k, v in system_use().items()}
            self.system[form].append(spent)

    def _profile(self, batches) -> None:
        for form, step in self._steps(batches).items():
            parts = Parts(sync)
            with timed_parts(self.runner, parts), parts.part(REST):
                step()
            self.parts[form].append(dict(parts.seconds))

    def _steps(self, batches) -> dict[str, Callable[[], None]]:
        return dict(full=lambda: self.run_iter(batches), bare=self._bare())

    def _bare(self) -> BareStep:
        model = unwrap(self.runner.model)
        return BareStep(model, self.runner.optim_wrapper, self.calls)


def system_use() -> dict[str, float]:
    """Page faults and seconds, in the system and outside, of this process."""
    if resource is None:
        return {}
    use = resource.getrusage(resource.RUSAGE_SELF)
    return dict(faults=use.ru_minflt, system=use.ru_stime, user=use.ru_utime)


def measure_time(cfg: Config, repeats: int, warmup: int) -> tuple[dict, list[Call]]:
    """Seconds of both forms, their parts, and the passes that the bare one runs."""
    made = []

    def make_step(runner: Runner) -> Benchmark:
        made.append(Benchmark(runner, repeats, warmup))
        return made[0]

    run_steps(cfg, make_step)
    found = made[0]
    full, bare = (statistics.median(found.seconds[form]) for form in ('full', 'bare'))
    each = [f / b for f, b in zip(*found.seconds.values(), strict=True)]
    result = dict(
        passes=[call.describe() for call in found.calls],
        seconds=found.seconds,
        full=full,
        bare=bare,
        ratio=full / bare,
        ratio_range=[min(each), max(each)],
        system={form: _medians(found.system[form]) for form in found.system},
        parts={form: _medians(found.parts[form]) for form in found.parts},
    )
    return result, found.calls


def _medians(repeats: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for repeat in repeats for name in repeat)
    return {
        name: statistics.median(repeat.get(name, 0.0) for repeat in repeats)
        for name in names
    }


# Memory


def measure_memory(cfg: Config, calls: list[Call], args) -> dict[str, float]:
    """Peak of each form in MiB, in a child process each."""
    job = Path(cfg.work_dir) / 'job.pt'
    torch.save(dict(cfg=cfg.to_dict(), calls=[tuple(call) for call in calls]), job)
    command = [*child_command(__file__, args), str(job)]
    return {form: float(last_line([*command, '--measure', form])) for form in FORMS}


def peak_of_form(job: Path, form: str) -> float:
    """In the child process: MiB after some steps of one form."""
    # Holds data samples, not tensors alone; the parent process wrote it
    job = torch.load(job, map_location='cpu', weights_only=False)
    cfg = Config(job['cfg'])
    cfg.experiment_name += f'-{form}'
    if cfg.get('custom_imports'):
        import_modules_from_strings(**cfg.custom_imports)

    def make_step(runner: Runner) -> Callable:
        run_iter, model = runner.train_loop.run_iter, unwrap(runner.model)
        device = next(model.parameters()).device
        calls = [_on_device(Call(*call), device) for call in job['calls']]
        done = []

        def step(batches) -> None:
            if form == 'full':
                run_iter(batches)
            elif form == 'bare':
                BareStep(model, runner.optim_wrapper, calls)()
            done.append(form)
            runner.train_loop.stop_training = len(done) == MEMORY_STEPS

        return step

    run_steps(cfg, make_step)
    return peak_memory()


def _on_device(call: Call, device: torch.device) -> Call:
    samples = call.data_samples and [s.to(device) for s in call.data_samples]
    return call._replace(inputs=call.inputs.to(device), data_samples=samples)


# Output


def report(result: dict) -> str:
    texts = [surroundings_text(result['about']), _passes_table(result['passes'])]
    texts.append(_ratio_line(result))
    if result['system']['full']:
        texts.append(_system_table(result))
    texts.append(_parts_table(result['parts']))
    if 'memory' in result:
        texts.append(_memory_table(result['memory']))
    return '\n\n'.join(texts)


def _passes_table(passes: list[dict]) -> str:
    head = ['network', 'pass', 'mode', 'gradient', 'images']
    rows = [
        [
            p['network'],
            'loss()' if p['kind'] == 'loss' else 'logits',
            p['mode'],
            'yes' if p['grad'] else 'no',
            ' x '.join(map(str, p['shape'])),
        ]
        for p in passes
    ]
    return 'bare passes, and one optimizer step\n' + table(head, rows, numbers=1)


def _ratio_line(result: dict) -> str:
    low, high = result['ratio_range']
    repeats = len(result['seconds']['full'])
    return (
        f'full step {1e3 * result["full"]:.0f} ms / bare {1e3 * result["bare"]:.0f} ms '
        f'= {result["ratio"]:.3f}\n'
        f'(medians of {repeats} in turn; single ratios {low:.3f} to {high:.3f})'
    )


def _system_table(result: dict) -> str:
    rows = []
    for form, use in result['system'].items():
        cells = [f'{1e3 * use[name]:.0f}' for name in ('user', 'system')]
        milliseconds = f'{1e3 * result[form]:.0f}'
        rows.append([form, milliseconds, *cells, f'{use["faults"] / 1e3:.1f}'])
    head = ['step', 'ms', 'CPU ms, program', 'CPU ms, system', '1 000 page faults']
    return table(head, rows)


def shares(parts: dict[str, float]) -> dict[str, float]:
    """Share of each part in the sum of all parts, in percent."""
    total = sum(parts.values())
    return {name: 100 * seconds / total for name, seconds in parts.items()}


def _parts_table(parts: dict[str, dict[str, float]]) -> str:
    full, bare = (defaultdict(float, parts[form]) for form in ('full', 'bare'))
    share = shares(full)
    small = [n for n in share if share[n] < SMALL and n != REST]
    names = sorted(set(full) - set(small), key=lambda n: (n == REST, -full[n]))
    groups = {name: [name] for name in names}
    if small:
        groups[f'{len(small)} parts below {SMALL} %'] = small
    groups['sum'] = list(full)
    rows = []
    for label, group in groups.items():
        own = [1e3 * sum(form[name] for name in group) for form in (full, bare)]
        percent = sum(share[name] for name in group)
        cells = [f'{own[0]:.1f}', f'{percent:.1f}', f'{own[1]:.1f}']
        rows.append([label, *cells, f'{own[0] - own[1]:+.1f}'])
    return table(['part of the step', 'full ms', 'share %', 'bare ms', 'excess'], rows)


def _memory_table(memory: dict[str, float]) -> str:
    rows = [
        [form, f'{peak:.0f}', f'{peak - memory["idle"]:.0f}']
        for form, peak in memory.items()
    ]
    return table(['one process each', 'peak MiB', 'above idle MiB'], rows)


def main(argv=None) -> int:
    args = parse_args(argv)
    device = use_device(args.device, args.threads)
    if args.measure is not None:
        print(peak_of_form(Path(args.config), args.measure))
        return 0
    with benchmark_config(args.config, args.cfg_options) as cfg:
        prepare(cfg, args.warmup + 2 * args.repeats)
        seed = (cfg.get('randomness') or {}).get('seed')
        about = surroundings(args.config, seed, device)
        if args.formats:
            result = dict(
                about=about, **measure_formats(cfg, args.repeats, args.warmup)
            )
            text = '\n\n'.join([surroundings_text(about), formats_table(result)])
        else:
            result, calls = measure_time(cfg, args.repeats, args.warmup)
            result = dict(about=about, **result)
            if not args.no_memory:
                result['memory'] = measure_memory(cfg, calls, args)
            text = report(result)
    print(text)
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
