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
are those of the stages that the package names (mmsemiseg.utils.profiling), each without
the stages inside of it, in separate repeats. The peak of the memory is that of a
process each for the full step, the bare step, and one that builds the same and does
neither.

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
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings

from mmsemiseg.benchmark.bare_step import BareStep, Call, recorded_calls
from mmsemiseg.benchmark.formats import formats_table, measure_formats
from mmsemiseg.benchmark.generated_run import benchmark_config, prepare, run_steps
from mmsemiseg.benchmark.process import (
    child_command,
    last_line,
    peak_memory,
    sync,
    system_use,
    use_device,
)
from mmsemiseg.benchmark.report import surroundings, table, tell
from mmsemiseg.benchmark.stage_times import REST, timed_stages
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.model import unwrap

FORMS = ('idle', 'bare', 'full')
MEMORY_STEPS = 2
SMALL = 0.1  # percent of a step: stages with less share a row


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


class Benchmark:
    """Stands in for ``run_iter`` of the training loop, which gives it batches.

    First come ``warmup`` full steps, then ``repeats`` of both steps in turn, then as
    many again with their stages.
    """

    def __init__(self, runner: Runner, repeats: int, warmup: int) -> None:
        self.runner = runner
        self.loop = runner.train_loop
        self.run_iter = self.loop.run_iter
        self.plan = ['warm up'] * warmup + ['time'] * repeats + ['stages'] * repeats
        self.calls: list[Call] = []
        self.seconds: dict[str, list[float]] = dict(full=[], bare=[])
        self.system: dict[str, list[dict]] = dict(full=[], bare=[])
        self.stages: dict[str, list[dict]] = dict(full=[], bare=[])

    def __call__(self, batches) -> None:
        model, wrapper = unwrap(self.runner.model), self.runner.optim_wrapper
        kind = self.plan.pop(0)
        if kind == 'warm up':
            with recorded_calls(model) as self.calls:
                self.run_iter(batches)
        bare = BareStep(model, wrapper, self.calls)
        if kind == 'warm up':
            bare()
            return
        for form, step in dict(full=lambda: self.run_iter(batches), bare=bare).items():
            if kind == 'time':
                self._time(form, step)
            else:
                with timed_stages(wrapper) as seconds:
                    step()
                self.stages[form].append(seconds)
        self.loop.stop_training = not self.plan

    def _time(self, form: str, step: Callable[[], None]) -> None:
        sync()
        before, start = system_use(), time.perf_counter()
        step()
        sync()
        self.seconds[form].append(time.perf_counter() - start)
        spent = {name: value - before[name] for name, value in system_use().items()}
        self.system[form].append(spent)


def measure_time(cfg: Config, repeats: int, warmup: int) -> tuple[dict, list[Call]]:
    """Seconds of both forms and of their stages, and the passes of the bare one."""
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
        stages={form: _medians(found.stages[form]) for form in found.stages},
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
    texts = [_passes_table(result['passes']), _ratio_line(result)]
    if result['system']['full']:
        texts.append(_system_table(result))
    texts.append(_stages_table(result['stages']))
    if 'memory' in result:
        texts.append(_memory_table(result['memory']))
    return '\n\n'.join(texts)


def _passes_table(passes: list[dict]) -> str:
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
    head = ['network', 'pass', 'mode', 'gradient', 'images']
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
        times = (result[form], use['user'], use['system'])
        cells = [f'{1e3 * seconds:.0f}' for seconds in times]
        rows.append([form, *cells, f'{use["faults"] / 1e3:.1f}'])
    head = ['step', 'ms', 'CPU ms, program', 'CPU ms, system', '1 000 page faults']
    return table(head, rows)


def shares(stages: dict[str, float]) -> dict[str, float]:
    """Share of each stage in the sum of all stages, in percent."""
    total = sum(stages.values())
    return {name: 100 * seconds / total for name, seconds in stages.items()}


def _stages_table(stages: dict[str, dict[str, float]]) -> str:
    full, bare = (defaultdict(float, stages[form]) for form in ('full', 'bare'))
    share = shares(full)
    small = [n for n in share if share[n] < SMALL and n != REST]
    names = sorted(set(full) - set(small), key=lambda n: (n == REST, -full[n]))
    groups = {name: [name] for name in names}
    if small:
        groups[f'{len(small)} stages below {SMALL} %'] = small
    groups['sum'] = list(full)
    rows = []
    for label, group in groups.items():
        own = [1e3 * sum(form[name] for name in group) for form in (full, bare)]
        percent = sum(share[name] for name in group)
        cells = [f'{own[0]:.1f}', f'{percent:.1f}', f'{own[1]:.1f}']
        rows.append([label, *cells, f'{own[0] - own[1]:+.1f}'])
    head = ['stage of the step', 'full ms', 'share %', 'bare ms', 'excess']
    return table(head, rows)


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
            result = measure_formats(cfg, args.repeats, args.warmup)
            text = formats_table(result)
        else:
            result, calls = measure_time(cfg, args.repeats, args.warmup)
            if not args.no_memory:
                result['memory'] = measure_memory(cfg, calls, args)
            text = report(result)
    tell(about, text, result, args.out)
    return 0


if __name__ == '__main__':
    exit_with(main)
