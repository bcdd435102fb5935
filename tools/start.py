"""From folders of images and masks to a trained, compared model, in one command.

Masks may be there for some of the images only: those are the labeled ones. Trains the
baseline on the labels alone (SupOnly), then a semi-supervised method, with the same
budget, and prints a table. What it chooses is printed with the reason, and can be
overridden. Your files are not changed; all that is written is in --out.

examples:
  # masks for some of the images
  python tools/start.py --images photos --masks masks --hours 2

  # more images, and validation images of your own
  python tools/start.py --images photos --masks masks --unlabeled more archive \\
      --val val/images val/masks

  # images and masks in one folder; what would be done?
  python tools/start.py --images all --dry-run
"""

import argparse
import sys
import tempfile

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.start import flow
from mmsemiseg.start.methods import DEFAULT, METHODS
from mmsemiseg.start.options import Options
from mmsemiseg.start.probe import ProbeError
from mmsemiseg.start.runs import TrainingError
from mmsemiseg.utils import launch


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    data = parser.add_argument_group('data')
    data.add_argument('--images', metavar='DIR', help='folder of images')
    data.add_argument(
        '--masks',
        metavar='DIR',
        help='folder of masks: class numbers, palette, colours, or black and white. '
        'Without it they are looked for in the folder of the images',
    )
    data.add_argument(
        '--unlabeled',
        metavar='DIR',
        nargs='+',
        default=[],
        help='folders of more images without masks',
    )
    data.add_argument(
        '--val',
        metavar='DIR',
        nargs='+',
        default=[],
        help='folder of validation images and masks, or one folder of each '
        '[--val-share of the images with masks]',
    )
    data.add_argument(
        '--val-share',
        type=float,
        default=0.2,
        help='share of the images with masks that validates [0.2]',
    )
    data.add_argument(
        '--labels', type=int, help='use only so many labels, to see what they are worth'
    )
    data.add_argument(
        '--classes',
        metavar='FILE',
        help='classes.json of an earlier start, or lines of a name and its colour, or '
        'of names',
    )
    data.add_argument(
        '--ignore',
        metavar='VALUE',
        nargs='+',
        help='values of masks that are no class: 255, "#ff00ff", or none',
    )
    run = parser.add_argument_group('run')
    run.add_argument(
        '--method',
        choices=METHODS,
        default=DEFAULT,
        help=f'semi-supervised method [{DEFAULT}]',
    )
    run.add_argument('--hours', type=float, help='time from the command to the table')
    run.add_argument(
        '--out',
        metavar='DIR',
        default='work_dirs/start',
        help='folder of all that is written [work_dirs/start]',
    )
    run.add_argument('--seed', type=int, default=0, help='seed of split and runs [0]')
    run.add_argument(
        '--dry-run', action='store_true', help='say all that would be done, and stop'
    )
    run.add_argument(
        '--resume', action='store_true', help='go on with what was started in --out'
    )
    run.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    model = parser.add_argument_group('network')
    model.add_argument(
        '--student', metavar='CONFIG', help='config of MMSegmentation [DeepLabV3+]'
    )
    model.add_argument(
        '--pretrained',
        metavar='FILE',
        help='weights of the backbone',
    )
    model.add_argument(
        '--from-scratch', action='store_true', help='begin with random weights'
    )
    own = parser.add_argument_group('in place of what it would choose')
    own.add_argument('--scale', type=int, help='long side of the resized images')
    own.add_argument(
        '--crop',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the crops that are trained on',
    )
    own.add_argument(
        '--batch',
        type=int,
        help='labeled images of a step, and as many unlabeled ones',
    )
    own.add_argument('--iterations', type=int, help='iterations of each training')
    own.add_argument('--rate', type=float, help='learning rate of the heads')
    own.add_argument(
        '--precision',
        choices=['fp32', 'bf16', 'fp16'],
        help='number format of the forward passes',
    )
    args = parser.parse_args(argv)
    if args.images is None and not args.resume:
        parser.error('--images is required')
    if len(args.val) > 2:
        parser.error('--val takes one folder, or a folder of images and one of masks')
    return args


def main(args):
    if args.resume:
        flow.resume(args.out)
        return
    names = vars(args).keys() - {'dry_run', 'resume', 'debug'}
    values = {name: getattr(args, name) for name in names}
    options = Options(**{k: v for k, v in values.items() if v is not None})
    if not args.dry_run:
        flow.run(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        flow.dry_run(options, folder)


if __name__ == '__main__':
    arguments = parse_args()
    try:
        launch.run_tool(lambda: main(arguments), arguments.debug)
    except (ProbeError, TrainingError) as error:
        sys.exit(f'error: {error}')
