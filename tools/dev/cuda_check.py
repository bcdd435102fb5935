"""Everything that only a GPU can show, in one table: correct, without waits, how fast.

Sections:

- kernels: losses, their gradients, mixing and augmentation on the GPU against float64
  on the CPU, with inputs in fp32, fp16 and bf16;
- waits: where a loss, its backward pass or the update of a teacher or a bank waits for
  the GPU;
- skips: a step that the loss scale skips moves neither student, teacher nor bank;
- processes: training steps with NCCL and SyncBN in one process;
- steps: seconds and peak memory of a step of each method beside those of its passes;
- sweep: short runs of a list, several at once, and their last scores.

The first four run at once, the others alone. Each section is a process of its own: one
that dies or takes too long loses only what it had not yet done. The exit status is 1
where a check failed.

examples:
  python tools/dev/cuda_check.py --out check --minutes 4
  python tools/dev/cuda_check.py --sections sweep --sweep runs.txt --jobs 6
  python tools/dev/cuda_check.py --device cpu --small
"""

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from check_rows import FAIL, SKIP, Rows, describe, read_rows

HERE = Path(__file__).resolve().parent
TOGETHER = ('kernels', 'waits', 'skips', 'processes')
ALONE = ('steps', 'sweep')
SECTIONS = (*TOGETHER, *ALONE)
MARGIN = 8.0  # seconds for the end of a process and for the table
SHARE_BEFORE_SWEEP = 0.5  # of the time then left, for the section `steps`
VALUE_WIDTH = 150


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--sections', default=','.join(SECTIONS), help='names, with commas between them'
    )
    parser.add_argument('--minutes', type=float, default=4.0, help='of all [4]')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda')
    parser.add_argument(
        '--small', action='store_true', help='small inputs and networks everywhere'
    )
    parser.add_argument(
        '--methods', help='names, with commas between them, of those in waits to steps'
    )
    parser.add_argument(
        '--sweep', type=Path, metavar='FILE', help='a run a line: name config key=value'
    )
    parser.add_argument('--jobs', type=int, default=4, help='runs at once [4]')
    parser.add_argument(
        '--work-dir', type=Path, help='folder of the runs of the sweep [temporary]'
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='for cuda_check.json, .txt and .log'
    )
    parser.add_argument('--worker', metavar='FILE', help=argparse.SUPPRESS)
    parser.add_argument('--seconds', type=float, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.sections = [name.strip() for name in args.sections.split(',')]
    unknown = sorted(set(args.sections) - set(SECTIONS))
    if unknown:
        parser.error(f'--sections must be of {list(SECTIONS)}, but got {unknown}')
    if args.minutes <= 0 or args.jobs < 1:
        parser.error('--minutes must be above 0, and --jobs at least 1')
    return args


# One section, in its own process


def work(args: argparse.Namespace) -> int:
    section = args.sections[0]
    rows = Rows(args.worker, section, args.seconds)
    with rows.guarded('the whole section'):
        from mmsemiseg.benchmark.process import use_device

        use_device(args.device, None)
        importlib.import_module(f'check_{section}').run(rows, args)
    return 0


class Child:
    """A section in a process of its own.

    Args:
        section: Name of the section.
        args: Arguments of this tool.
        folder: Folder for the results and the output of the section.
        seconds: Time limit in seconds.
        threads: Number of CPU threads, unless OMP_NUM_THREADS is set.
    """

    def __init__(
        self, section: str, args, folder: Path, seconds: float, threads: int
    ) -> None:
        self.section = section
        self.rows = folder / f'{section}.jsonl'
        self.log = folder / f'{section}.log'
        self.end = time.monotonic() + seconds
        command = [sys.executable, '-W', 'ignore', str(HERE / 'cuda_check.py')]
        command += ['--worker', str(self.rows), '--sections', section]
        command += ['--seconds', f'{seconds - MARGIN / 2:.1f}']
        command += ['--device', args.device, '--jobs', str(args.jobs)]
        command += ['--small'] * args.small
        for name in ('methods', 'sweep', 'work_dir'):
            if getattr(args, name) is not None:
                option = f'--{name.replace("_", "-")}'
                command += [option, str(getattr(args, name))]
        with self.log.open('w') as log:
            self.process = subprocess.Popen(
                command,
                env={'OMP_NUM_THREADS': str(threads), **os.environ},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )

    def finish(self) -> list[dict]:
        """Results of the section, once it has ended or run out of time."""
        try:
            status = self.process.wait(max(self.end - time.monotonic(), 0.1))
            trouble = f'it ended with status {status}' if status else None
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            trouble = 'its time ran out'
        if trouble:
            lines = self.log.read_text(errors='replace').strip().splitlines()
            value = f'{trouble}; last line: {lines[-1][:120] if lines else ""}'
            Rows(self.rows, self.section, 0).add('the process', FAIL, value)
        return read_rows(self.rows)


# All sections


def run_all(args: argparse.Namespace, folder: Path) -> list[dict]:
    end = time.monotonic() + 60 * args.minutes - MARGIN
    results: list[dict] = []

    def run(sections: list[str], share: float = 1.0) -> None:
        seconds = share * (end - time.monotonic())
        if seconds < MARGIN:
            for name in sections:
                late = dict(section=name, check='the whole section', result=SKIP)
                results.append(dict(late, value='no time left', seconds=0.0))
            return
        threads = max((os.cpu_count() or 1) // max(len(sections), 1), 1)
        children = [Child(name, args, folder, seconds, threads) for name in sections]
        for child in children:
            results.extend(child.finish())

    run([name for name in TOGETHER if name in args.sections])
    sweeps = 'sweep' in args.sections and args.sweep is not None
    for name in ALONE:
        if name in args.sections:
            share = SHARE_BEFORE_SWEEP if sweeps and name == 'steps' else 1.0
            run([name], share)
    return results


def about(device: str) -> dict:
    try:
        from mmsemiseg.benchmark.report import surroundings

        found = surroundings(None, None, device)
    except Exception as error:
        found = dict(surroundings=describe(error))
    return dict(found, versions=_versions())


def _versions() -> str:
    from importlib import metadata

    found = []
    for name in ('numpy', 'onedl-mmengine', 'onedl-mmcv', 'onedl-mmsegmentation'):
        try:
            found.append(f'{name} {metadata.version(name)}')
        except metadata.PackageNotFoundError:
            found.append(f'no {name}')
    return ', '.join(found)


def table(rows: list[dict]) -> str:
    head = dict(section='section', check='check', result='result', value='value')
    cells = [[str(row[name])[:VALUE_WIDTH] for name in head] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    lines = []
    for row in cells:
        first = '  '.join(c.ljust(w) for c, w in zip(row, widths, strict=False))
        lines.append(f'{first}  {row[-1]}'.rstrip())
    lines.insert(1, '-' * 78)
    return '\n'.join(lines)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.worker is not None:
        return work(args)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix='cuda-check-') as folder:
        rows = run_all(args, Path(folder))
        logs = [path.read_text(errors='replace') for path in Path(folder).glob('*.log')]
    failed = [row for row in rows if row['result'] == FAIL]
    found = about(args.device)
    counts = ', '.join(
        f'{sum(row["result"] == result for row in rows)} {result}'
        for result in dict.fromkeys(row['result'] for row in rows)
    )
    last = f'{counts} in {time.monotonic() - started:.0f} s'
    lines = [f'{name + ":":9} {value}' for name, value in found.items()]
    text = '\n'.join([*lines, '', table(rows), '', last])
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        result = dict(about=found, rows=rows)
        (args.out / 'cuda_check.json').write_text(json.dumps(result, indent=1) + '\n')
        (args.out / 'cuda_check.txt').write_text(text + '\n')
        (args.out / 'cuda_check.log').write_text('\n'.join(logs))
    print(text, flush=True)
    return 1 if failed or not rows else 0


if __name__ == '__main__':
    sys.exit(main())
