"""Look at a config, its data and this machine before a training, on one page.

Environment, data (every file is decoded, images are compared across streams), classes,
settings beside the data, and a dry run of some steps and validation images with memory
and the duration of the whole training. Findings come last, errors first. Nothing is
written into the work folder. The exit status is 1 where there is an error: no training
would start, or it would fail.

examples:
  python tools/doctor.py configs/mean_teacher/my_config.py
  python tools/doctor.py my_config.py --quick --no-run --json findings.json
"""

import argparse
import json
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console
from rich.progress import track

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.doctor.examination import examine
from mmsemiseg.doctor.page import as_numbers, page
from mmsemiseg.utils import launch
from mmsemiseg.utils.command import exit_with


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument(
        '--quick',
        action='store_true',
        help='read headers and a sample of the masks, and compare no images',
    )
    parser.add_argument('--no-run', action='store_true', help='leave out the dry run')
    parser.add_argument(
        '--steps',
        type=int,
        default=2,
        metavar='N',
        help='steps of the dry run that are timed, after one to warm up; more give a '
        'better prediction [2]',
    )
    parser.add_argument(
        '--strict', action='store_true', help='exit with 1 on warnings, too'
    )
    parser.add_argument('--json', metavar='FILE', help='write all of it as JSON, too')
    parser.add_argument('--work-dir', help='work folder of the training')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config, as of the training',
    )
    return parser.parse_args(argv)


def check_args(args):
    if args.steps < 1:
        raise ValueError(f'--steps must be at least 1, but got {args.steps}')
    if args.json is None:
        return
    path = Path(args.json)
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise ValueError(f'--json {path} must be a file in a folder that exists')


def progress(files):
    """A bar, away from the page."""
    console = Console(stderr=True)
    return track(files, 'reading', console=console, transient=True)


def main(argv=None):
    args = parse_args(argv)
    check_args(args)
    cfg = launch.load_config(args.config, args.cfg_options, args.work_dir)
    steps = 0 if args.no_run else args.steps
    report = examine(cfg, args.config, steps, args.quick, progress)
    print(page(report))
    if args.json is not None:
        text = json.dumps(as_numbers(report), indent=2)
        Path(args.json).write_text(f'{text}\n', encoding='utf-8')
    failed = report.number('error') or (args.strict and report.number('warning'))
    return 1 if failed else 0


if __name__ == '__main__':
    exit_with(main)
