"""Check all data of a config: every image is decoded, every mask's values are read.

Checks the training streams (one train_dataloader, or several by name) and the
validation data. What was read is kept in --cache, so a second run reads new and
changed files only. The exit status is 1 where a problem was found.

examples:
  python tools/check_data.py configs/mean_teacher/my_config.py
  python tools/check_data.py my_config.py --allow-overlap --num-classes 2
"""

import argparse
import os
import sys

from mmengine.config import Config, DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from prettytable import PrettyTable
from rich.progress import track

import mmsemiseg.datasets  # noqa: F401
from mmsemiseg.datasets.checks import find_problems, stream_files
from mmsemiseg.datasets.content import ContentCache
from mmsemiseg.datasets.report import report_streams


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--cache', help='default: WORK_DIR/check_data.json')
    parser.add_argument('--num-classes', type=int, help='where no class names are set')
    parser.add_argument(
        '--allow-overlap',
        action='store_true',
        help='images may be in a labeled and in an unlabeled stream',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    return parser.parse_args(argv)


def stream_configs(cfg):
    """Dataset config of each stream: training by name, and 'val'."""
    loaders = cfg.get('train_dataloader') or {}
    if 'dataset' in loaders:
        loaders = dict(labeled=loaders)
    configs = {name: loader['dataset'] for name, loader in loaders.items()}
    if cfg.get('val_dataloader'):
        configs['val'] = cfg.val_dataloader['dataset']
    if not configs:
        raise ValueError('the config has neither train_dataloader nor val_dataloader')
    return configs


def build_streams(configs):
    """(datasets by name, problems of those that cannot be built)."""
    streams, problems = {}, []
    for name, config in configs.items():
        try:
            streams[name] = DATASETS.build(config)
        except (ValueError, FileNotFoundError, AssertionError) as error:
            problems.append(f'stream {name!r} cannot be built: {error}')
    return streams, problems


def table(report):
    """Images and pixels of each label of a stream."""
    rows = PrettyTable(['label', 'class', 'images', 'pixels', 'share'])
    rows.align = 'r'
    rows.align['class'] = 'l'
    total = max(sum(report.pixels.values()), 1)
    for label in sorted({*report.pixels, *range(len(report.classes))}):
        known = label < len(report.classes)
        name = report.classes[label] if known else ''
        share = f'{100 * report.pixels[label] / total:.2f}%'
        rows.add_row([label, name, report.images[label], report.pixels[label], share])
    return rows


def main(argv=None):
    args = parse_args(argv)
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options)
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    stem = os.path.splitext(os.path.basename(args.config))[0]
    work_dir = cfg.get('work_dir') or os.path.join('work_dirs', stem)
    cache = ContentCache(args.cache or os.path.join(work_dir, 'check_data.json'))

    streams, problems = build_streams(stream_configs(cfg))
    files = {name: stream_files(name, data) for name, data in streams.items()}
    found, notes = find_problems(files, args.allow_overlap)
    problems += found
    number = len({p for f in files.values() for p in f.images})
    number += len({p for f in files.values() for p in f.masks if p})
    reports, found, shared = report_streams(
        streams,
        files,
        cache,
        args.num_classes,
        progress=lambda files: track(files, 'reading', total=number),
    )
    cache.save()
    problems += found
    for names, text in shared.items():
        accepted = args.allow_overlap and 'val' not in names
        (notes if accepted else problems).append(text)
    for name, report in reports.items():
        print(f'\nstream {name!r}: {report.files} images, {report.masks} masks')
        if report.masks:
            print(table(report))
    print(f'\n{cache.decoded} of {number} files decoded, the others were known')
    for text in notes:
        print(f'NOTE: {text}')
    for text in problems:
        print(f'PROBLEM: {text}')
    print(f'{len(problems)} problems' if problems else 'no problem found')
    return 1 if problems else 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f'error: {error}')
