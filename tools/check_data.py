"""Check all data of a config: every image is decoded, every mask's values are read.

Checks the training streams (one train_dataloader, or several by name), the validation
and the test data, and whether classes and ignored labels of the model, the data and the
metrics agree. What was read is kept in --cache, so a second run reads new and changed
files only. The exit status is 1 where a problem was found.

examples:
  python tools/check_data.py configs/mean_teacher/my_config.py
  python tools/check_data.py my_config.py --allow-overlap --num-classes 2
"""

import argparse
import os

from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from prettytable import PrettyTable
from rich.progress import track

import mmsemiseg  # noqa: F401
from mmsemiseg.datasets.checks import inspect_streams, model_settings, stream_files
from mmsemiseg.datasets.checks.config_streams import (
    build_model,
    build_streams,
    evaluator_configs,
    stream_configs,
)
from mmsemiseg.datasets.checks.reading import read_all_files
from mmsemiseg.datasets.content import ContentCache
from mmsemiseg.utils import launch
from mmsemiseg.utils.command import exit_with


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--cache', help='file of what was read [WORK_DIR/check_data.json]'
    )
    parser.add_argument(
        '--num-classes',
        type=int,
        help='number of classes of data without class names [that of the heads]',
    )
    parser.add_argument(
        '--allow-overlap',
        action='store_true',
        help='allow an image to be in a labeled and in an unlabeled stream',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args(argv)


def table(labels):
    """Images and pixels of each label of a stream."""
    rows = PrettyTable(['label', 'class', 'images', 'pixels', 'share'])
    rows.align = 'r'
    rows.align['class'] = 'l'
    total = max(sum(labels.pixels.values()), 1)
    for label in sorted({*labels.pixels, *range(len(labels.classes))}):
        known = label < len(labels.classes)
        name = labels.classes[label] if known else ''
        share = f'{100 * labels.pixels[label] / total:.2f}%'
        rows.add_row([label, name, labels.images[label], labels.pixels[label], share])
    return rows


def main(argv=None):
    args = parse_args(argv)
    cfg = launch.read_config(args.config)
    launch.merge_options(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    stem = os.path.splitext(os.path.basename(args.config))[0]
    work_dir = cfg.get('work_dir') or os.path.join('work_dirs', stem)
    cache = ContentCache(args.cache or os.path.join(work_dir, 'check_data.json'))

    streams, problems = build_streams(stream_configs(cfg))
    model, found = build_model(cfg)
    problems += found
    files = {name: stream_files(name, data) for name, data in streams.items()}
    number = len({p for f in files.values() for p in f.images})
    number += len({p for f in files.values() for p in f.masks if p})
    findings = inspect_streams(
        streams,
        model_settings(model, evaluator_configs(cfg)),
        args.allow_overlap,
        read_all_files(cache, lambda files: track(files, 'reading', total=number)),
        args.num_classes,
    )
    problems += [*findings.problems, *findings.doubts]
    for name, labels in findings.labels.items():
        images = len(files[name].images)
        print(f'\nstream {name!r}: {images} images, {labels.masks} masks')
        if labels.masks:
            print(table(labels))
    print(f'\n{cache.decoded} of {number} files decoded, the others were known')
    for text in findings.notes:
        print(f'NOTE: {text}')
    for text in problems:
        print(f'PROBLEM: {text}')
    print(f'{len(problems)} problems' if problems else 'no problem found')
    return 1 if problems else 0


if __name__ == '__main__':
    exit_with(main)
