"""Make a small data set as a user has one, and do with it what `start` does.

The data: images of textured shapes, a few of them with a mask, and some to validate.
The command of `start` for them is printed; with your own folders it does the same: it
trains the labels alone and a method, prints a table and writes a report. Then the
validation images are predicted. Needs no download and no pretrained weights.

examples:
  python tools/quickstart.py
  python tools/quickstart.py --method CTT --out work_dirs/quickstart_ctt
  python tools/quickstart.py --resume
"""

import argparse
import functools
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.datasets.synthetic import write_folders
from mmsemiseg.start import flow
from mmsemiseg.start.methods import DEFAULT, METHODS
from mmsemiseg.start.options import Options, duration, title, work_dir
from mmsemiseg.start.probe import ProbeError, package_env
from mmsemiseg.start.results import last_checkpoint
from mmsemiseg.start.runs import TrainingError
from mmsemiseg.utils import launch

DATA = Path('data/shapes')
COUNTS = dict(labeled=16, unlabeled=300, val=60)
DIFFICULTY = 0.1
STUDENT = 'sup-only_deeplabv3plus-r18-w16_quickstart.py'  # small, from scratch
CROP = (80, 80)  # of 96 x 96; the network has a cell for 8 x 8 pixels
ITERATIONS = 1200
CHOICES = [name for name, method in METHODS.items() if not method.masks]
say = functools.partial(print, flush=True)  # before what other processes say


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--method',
        choices=CHOICES,
        default=DEFAULT,
        help=f'semi-supervised method [{DEFAULT}]',
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        default='work_dirs/quickstart',
        help='folder of all that is written, but for the data [work_dirs/quickstart]',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the runs [0]')
    parser.add_argument(
        '--iterations',
        type=int,
        default=ITERATIONS,
        help=f'iterations of each training [{ITERATIONS}]',
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on with what was started in --out'
    )
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    return parser.parse_args(argv)


def make_data():
    """Write the data set; one that is complete is kept."""
    title(say, 'Data')
    if len(list(DATA.glob('val/masks/*'))) == COUNTS['val']:  # written at last
        say(f'  {DATA} is there already')
        return
    write_folders(str(DATA), COUNTS, difficulty=DIFFICULTY)
    say(
        f'  {DATA}: {COUNTS["labeled"]} images with a mask, {COUNTS["unlabeled"]} '
        f'without, {COUNTS["val"]} to validate'
    )


def start_options(args):
    """What `start` is asked for."""
    return Options(
        images=str(DATA / 'images'),
        masks=str(DATA / 'masks'),
        val=(str(DATA / 'val/images'), str(DATA / 'val/masks')),
        student=STUDENT,
        crop=CROP,
        iterations=args.iterations,
        method=args.method,
        seed=args.seed,
        out=args.out,
    )


def predict(options):
    """Predict the validation images as new ones, by the tool."""
    title(say, 'Predictions')
    checkpoint = last_checkpoint(work_dir(options.out, options.methods[-1]))
    words = ['predict', os.path.relpath(checkpoint), str(DATA / 'val/images')]
    words += ['--out', os.path.join(options.out, 'predictions'), '--overlay']
    say(f'$ mim run mmsemiseg {shlex.join(words)}')
    command = [sys.executable, '-m', 'mmsemiseg', *words]
    subprocess.run(command, env=package_env(), check=True)


def main(args):
    began = time.time()
    if args.resume:
        options = flow.resume(args.out, say)
    else:
        options = start_options(args)
        make_data()
        say(f'\n$ mim run mmsemiseg start {shlex.join(options.words())}')
        flow.run(options, say)
    predict(options)
    say(f'\n{duration(time.time() - began)} on {os.cpu_count()} cores')


if __name__ == '__main__':
    arguments = parse_args()
    try:
        launch.run_tool(lambda: main(arguments), arguments.debug)
    except (ProbeError, TrainingError, subprocess.CalledProcessError) as error:
        sys.exit(f'error: {error}')
