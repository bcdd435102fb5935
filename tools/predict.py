"""Predict all images of a folder with a checkpoint.

Writes below --out: masks/, with a PNG of class numbers for each image, in the folders
of the images; overlays/ and confidence/ if asked for; predictions.json, which says what
they are of. No config is needed: the checkpoint has its own, which is read as plain
values; else config.py beside it is taken. Code in the checkpoint never runs.

Files that cannot be read or predicted are listed at the end, and the exit status is 1.

examples:
  python tools/predict.py work_dirs/mine/iter_4000.pth data/new
  python tools/predict.py work_dirs/mine/iter_4000.pth data/new --overlay --tta flip
  # which images to label next
  python tools/predict.py work_dirs/mine/iter_4000.pth data/new --rank next.csv
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

from mmengine.config import DictAction
from mmengine.device import get_device

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.apis import (
    OutputFolder,
    Predictor,
    Wanted,
    checkpoint_config,
    predict_folder,
)
from mmsemiseg.datasets.files import name_some
from mmsemiseg.engine.checkpoints import read_checkpoint
from mmsemiseg.utils import launch


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return number


def window_size(text):
    """'config', or '512' or '512x1024' (height and width) as a pair."""
    if text == 'config':
        return text
    sides = [positive(side) for side in text.split('x')]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f'{text} is no size like 512 or 512x1024')
    return sides[0], sides[-1]


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', metavar='CHECKPOINT', help='checkpoint of a run')
    parser.add_argument('folder', metavar='FOLDER', help='folder of images')
    parser.add_argument(
        '--out', metavar='DIR', help='folder to write to [predictions/<FOLDER>]'
    )
    parser.add_argument(
        '--overlay', action='store_true', help='colour each image by its classes, too'
    )
    parser.add_argument(
        '--confidence',
        action='store_true',
        help='write the probability of the predicted classes, too: 255 is 1',
    )
    parser.add_argument(
        '--rank',
        metavar='FILE',
        help='write the images by falling uncertainty, those to label next first: a '
        'table, or the names alone in a .txt file',
    )
    parser.add_argument(
        '--network',
        metavar='NAME',
        help='student, teacher or mean; with several pairs student0, teacher1, '
        "mean_students, ... [the config's predict_with]",
    )
    parser.add_argument(
        '--tta',
        choices=['flip', 'scales'],
        help='average over the image and its mirror image, or over six sizes with both',
    )
    window = parser.add_mutually_exclusive_group()
    window.add_argument(
        '--whole',
        dest='window',
        action='store_const',
        const='whole',
        help='predict each image at once [as test_cfg of the config]',
    )
    window.add_argument(
        '--slide',
        dest='window',
        nargs='?',
        const='config',
        type=window_size,
        metavar='SIZE',
        help='slide a window of this size, such as 512 or 512x1024 (height x width), '
        "over each image [the config's size]",
    )
    parser.add_argument(
        '--batch-size',
        type=positive,
        default=4,
        metavar='N',
        help='images of equal sizes that are predicted together [4]',
    )
    parser.add_argument(
        '--workers', type=int, default=2, help='processes that read images [2]'
    )
    parser.add_argument(
        '--device', default=get_device(), help=f'device to predict on [{get_device()}]'
    )
    parser.add_argument(
        '--config', help='config of the checkpoint, if not the one it came with'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config: key=value ...',
    )
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    return parser.parse_args(argv)


def summary(outcome, out, wanted):
    """What was written, and what was not with the reasons."""
    kinds = ['masks'] + ['overlays'] * wanted.overlay
    kinds += ['confidence'] * wanted.confidence
    print(f'{outcome.written} images in {outcome.seconds:.0f} s: ', end='')
    print(', '.join(str(out.path / kind) for kind in kinds))
    if wanted.ranking is not None:
        print(f'to label next: {wanted.ranking}')
    if outcome.others:
        print(f'{outcome.others} files have no suffix of an image')
    reasons = defaultdict(list)
    for path, reason in outcome.failed.items():
        reasons[reason.replace(path, '...')].append(path)
    if reasons:
        print(f'not predicted: {len(outcome.failed)} images', file=sys.stderr)
    for reason, paths in reasons.items():
        print(f'  {name_some(paths)}: {reason}', file=sys.stderr)


def main(args):
    path = launch.existing_file(args.checkpoint, 'CHECKPOINT')
    if args.rank is not None and Path(args.rank).is_dir():
        raise ValueError(f'--rank {args.rank} is a folder: name a file')
    name = Path(args.folder).resolve().name
    out = OutputFolder(args.out or f'predictions/{name}', path, args.folder)
    content = read_checkpoint(path)
    cfg, origin = checkpoint_config(path, content, args.config)
    launch.merge_options(cfg, args.cfg_options)
    predictor = Predictor(
        cfg, content, path, args.network, args.device, args.tta, args.window
    )
    kind = type(predictor.model).__name__
    network = f'{predictor.network} of {kind}' if predictor.network else kind
    print(f'{network} on {args.device}, {len(predictor.meta["classes"])} classes')
    print(f'config: {origin}; {predictor.protocol}')
    wanted = Wanted(args.overlay, args.confidence, args.rank)
    outcome = predict_folder(
        predictor, args.folder, out, wanted, args.batch_size, args.workers
    )
    summary(outcome, out, wanted)
    return len(outcome.failed)


if __name__ == '__main__':
    arguments = parse_args()
    failed = []
    launch.run_tool(lambda: failed.append(main(arguments)), arguments.debug)
    sys.exit(bool(failed[0]))
