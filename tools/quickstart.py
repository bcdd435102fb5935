"""Make a small data set, train a baseline and a semi-supervised method, compare.

Writes below --work-dir: a folder per method and seed, `table.txt`, and pictures of
predictions in `overlays/`. Needs no download. Run again, it starts over; the data set
is kept.

examples:
  python tools/quickstart.py
  python tools/quickstart.py --methods MeanTeacher CTT
  python tools/quickstart.py --seeds 0 1 2      # mean and standard deviation
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmseg.registry import DATASETS, MODELS
from prettytable import PrettyTable

import mmsemiseg  # noqa: F401  (registers the modules)
from mmsemiseg.datasets.synthetic import write_synthetic
from mmsemiseg.utils.logs import last_metrics
from mmsemiseg.utils.overlay import overlay, titled_row

MODEL = 'deeplabv3plus-r18-w16'


class Method(NamedTuple):
    """A config and its networks: those in the table, and the one that is tested."""

    name: str
    config: str
    columns: dict[str, str]
    tested: str


BASELINE = Method(
    'SupOnly',
    f'configs/baselines/sup-only_{MODEL}_quickstart.py',
    {'SupOnly': 'student'},
    'student',
)
MEAN_TEACHER = Method(
    'MeanTeacher',
    f'configs/baselines/mean-teacher_cutmix_{MODEL}_quickstart.py',
    {'MeanTeacher student': 'student', 'MeanTeacher teacher': 'teacher'},
    'teacher',
)
CTT = Method(
    'CTT',
    f'configs/ctt/ctt_{MODEL}_quickstart.py',
    {'CTT student': 'student0', 'CTT teacher': 'teacher0'},
    'student0',
)
ESL = Method(
    'ESL',
    f'configs/esl/esl_{MODEL}_quickstart.py',
    {'ESL student': 'student', 'ESL teacher': 'teacher'},
    'teacher',
)
METHODS = {method.name: method for method in (MEAN_TEACHER, CTT, ESL)}
COUNTS = dict(labeled=16, unlabeled=300, val=60)
DIFFICULTY = 0.1
DATA = Path('data/quickstart')


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default='work_dirs/quickstart')
    parser.add_argument('--methods', nargs='+', choices=METHODS, default=['CTT'])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--pictures', type=int, default=6, help='overlays to write')
    parser.add_argument('--max-iters', type=int, help='fewer, to try the tool out')
    return parser.parse_args(argv)


def make_data() -> None:
    if (DATA / 'ImageSets').is_dir():
        print(f'{DATA} is there already')
        return
    print(f'making {DATA}: ' + ', '.join(f'{n} {k}' for k, n in COUNTS.items()))
    write_synthetic(str(DATA), COUNTS, seed=0, difficulty=DIFFICULTY)


def train(config: str, work_dir: Path, seed: int, max_iters: int | None) -> None:
    """One `mim train`, its output on the screen; an error ends the quickstart."""
    command = ['mim', 'train', 'mmsemiseg', config, '--gpus', '0']
    command += ['--work-dir', str(work_dir), '--seed', str(seed)]
    if max_iters is not None:
        command += ['--cfg-options', f'train_cfg.max_iters={max_iters}']
    mim = Path(sys.executable).parent / 'mim'
    print('$', ' '.join(command), flush=True)
    if mim.is_file():
        command[0] = str(mim)
    subprocess.run(command, check=True)


def table(work_dir: Path, methods: list[Method], seeds: list[int]) -> str:
    """IoU of each class for the networks, and what each method gains."""
    before = _scores(work_dir / BASELINE.name, seeds, BASELINE.tested)
    columns, gains = {BASELINE.name: before}, {}
    for method in methods:
        folder = work_dir / method.name
        for column, network in method.columns.items():
            columns[column] = _scores(folder, seeds, network)
        after = _scores(folder, seeds, method.tested)
        common = [key for key in before if key in after]
        gains[f'gain of {method.name}'] = {k: after[k] - before[k] for k in common}
    text = PrettyTable(['IoU in %', *columns, *gains])
    text.align['IoU in %'] = 'l'
    for key in sorted(before, key=lambda name: (name == 'mIoU', name)):
        cells = [_cell(scores.get(key)) for scores in columns.values()]
        cells += [_cell(scores.get(key), '+') for scores in gains.values()]
        text.add_row([key.removeprefix('IoU.'), *cells])
    return f'{text}\nlast checkpoints, seeds {seeds}\n'


def _scores(folder: Path, seeds: list[int], network: str) -> dict[str, np.ndarray]:
    runs = [last_metrics(folder / f'seed{seed}') for seed in seeds]
    names = [key for key in runs[0] if key.startswith(f'{network}/')]
    wanted = [k for k in names if '/IoU.' in k or k.endswith('/mIoU')]
    return {
        key.removeprefix(f'{network}/'): np.array([run[key] for run in runs])
        for key in wanted
        if all(key in run for run in runs)
    }


def _cell(values: np.ndarray | None, sign: str = '') -> str:
    if values is None:
        return ''
    if len(values) == 1:
        return f'{values[0]:{sign}.1f}'
    return f'{values.mean():{sign}.1f} ± {values.std(ddof=1):.1f}'


def predictions(
    work_dir: Path, method: Method, seed: int, count: int
) -> tuple[list, list]:
    """[(image, truth, prediction)] of the first validation images, and the palette."""
    folder = work_dir / method.name / f'seed{seed}'
    cfg = Config.fromfile(folder / 'config.py')
    init_default_scope('mmseg')
    model = MODELS.build(cfg.model)
    last = (folder / 'last_checkpoint').read_text().strip()
    load_checkpoint(model, last, map_location='cpu')
    model.eval()
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    found = []
    for index in range(min(count, len(dataset))):
        item = dataset[index]
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        data = model.data_preprocessor(batch, False)
        sample = model.predict_as(method.tested, **data)[0]
        image = item['inputs'].permute(1, 2, 0).numpy()
        truth = item['data_samples'].gt_sem_seg.data[0].numpy()
        found.append((image, truth, sample.pred_sem_seg.data[0].numpy()))
    return found, dataset.metainfo['palette']


def write_overlays(
    work_dir: Path, methods: list[Method], seed: int, count: int
) -> Path:
    """image | truth | baseline | methods, one picture per validation image."""
    folder = work_dir / 'overlays'
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for method in (BASELINE, *methods):
        found, palette = predictions(work_dir, method, seed, count)
        for index, (image, truth, predicted) in enumerate(found):
            if len(rows) == index:
                rows.append({'image': image, 'truth': overlay(image, truth, palette)})
            rows[index][method.name] = overlay(image, predicted, palette)
    for index, row in enumerate(rows):
        cv2.imwrite(str(folder / f'{index:02d}.png'), titled_row(row))
    return folder


def main(argv=None) -> int:
    args = parse_args(argv)
    start = time.time()
    methods = [METHODS[name] for name in args.methods]
    steps = len(methods) + 3
    print(f'[1/{steps}] data')
    make_data()
    for number, method in enumerate((BASELINE, *methods), 2):
        print(f'[{number}/{steps}] training {method.name}')
        for seed in args.seeds:
            work_dir = args.work_dir / method.name / f'seed{seed}'
            train(method.config, work_dir, seed, args.max_iters)
    print(f'[{steps}/{steps}] results')
    text = table(args.work_dir, methods, args.seeds)
    (args.work_dir / 'table.txt').write_text(text, encoding='utf-8')
    print(text)
    pictures = write_overlays(args.work_dir, methods, args.seeds[0], args.pictures)
    print(f'pictures: {pictures}')
    print(f'table: {args.work_dir / "table.txt"}')
    print(f'{time.time() - start:.0f} s on {os.cpu_count()} cores')
    return 0


if __name__ == '__main__':
    sys.exit(main())
