"""Views per second of each training stream, against plain decoding and cropping.

The pipeline is that of training: a StreamDataset under a StreamSampler, seeds, checks,
augmentation, packing. The plain one decodes the same files in the same order, cuts a
random crop of the size of the first view out of each, and makes tensors; an image (with
its mask) gives one crop. Both run in turn, through a DataLoader each with the same
batch size and number of workers (0: in the main process); the first batches, and the
start of the workers, are not timed.

`ratio` is the time for a view over the time for a plain crop.

A config with `synthetic=dict(counts=..., size=...)` gets generated images.

examples:
  python tools/benchmark/data_pipeline.py \\
      configs/benchmark/mean-teacher_cutmix_deeplabv3plus-r18_synthetic-320.py
  python tools/benchmark/data_pipeline.py my_config.py --workers 0 2 4
"""

import argparse
import random
import statistics
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Dataset

from mmsemiseg.benchmark.generated_run import benchmark_config
from mmsemiseg.benchmark.report import surroundings, table, tell
from mmsemiseg.datasets import StreamDataset
from mmsemiseg.datasets.checks import stream_files
from mmsemiseg.utils.command import exit_with


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--workers',
        type=int,
        nargs='+',
        default=[0, 1, 2],
        help='numbers of loading processes [0 1 2]',
    )
    parser.add_argument(
        '--repeats', type=int, default=7, help='repeats of each measurement [7]'
    )
    parser.add_argument(
        '--batches', type=int, default=5, help='batches of a repeat [5]'
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='JSON of all figures')
    args = parser.parse_args(argv)
    if min(args.repeats, args.batches) < 1 or min(args.workers) < 0:
        parser.error('--repeats and --batches must be at least 1, --workers at least 0')
    return args


class PlainCrops(Dataset):
    """Decode and crop, nothing else: ``[image crop]`` or ``[image crop, mask crop]``.

    Args:
        files: Paths of each index: (image, mask or None).
        crop_size: Size (height, width) of the crop, less where an image is smaller.
    """

    def __init__(self, files: list[tuple], crop_size: tuple[int, int]) -> None:
        self.files = files
        self.crop_size = crop_size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        image, mask = self.files[index]
        pixels = [mmcv.imread(image)[..., ::-1]]
        if mask is not None:
            pixels.append(mmcv.imread(mask, 'unchanged', backend='pillow'))
        height, width = pixels[0].shape[:2]
        rows, cols = min(height, self.crop_size[0]), min(width, self.crop_size[1])
        top, left = random.randint(0, height - rows), random.randint(0, width - cols)
        crops = [p[top : top + rows, left : left + cols] for p in pixels]
        return [torch.from_numpy(np.ascontiguousarray(c)) for c in crops]


def stream_loader(dataset: Dataset, name: str, cfg: dict, workers: int, seed: int):
    """Dataloader of a stream as in training, with another number of workers."""
    settings = dict(
        dataset=dataset,
        batch_size=cfg['batch_size'],
        num_workers=workers,
        sampler=dict(type='StreamSampler', stream=name),
        collate_fn=cfg.get('collate_fn') or dict(type='pseudo_collate'),
    )
    return Runner.build_dataloader(settings, seed=seed)


def views(item: dict) -> list[torch.Tensor]:
    """The images of one sample: one, or that of each view."""
    leaves = [item] if 'inputs' in item else item.values()
    return [leaf['inputs'] for leaf in leaves]


def seconds_a_batch(loader: DataLoader, batches: int) -> float:
    """Mean over ``batches``, after those that the workers prepared at the start."""
    ahead = 1 + loader.num_workers * (loader.prefetch_factor or 0)
    iterator: Iterator = iter(loader)
    for _ in islice(iterator, ahead):
        pass
    start = time.perf_counter()
    for _ in islice(iterator, batches):
        pass
    return (time.perf_counter() - start) / batches


def measure_stream(name: str, cfg: dict, workers: int, seed: int, args) -> dict:
    """Both forms of one stream with one number of workers."""
    dataset = StreamDataset(cfg['dataset'], stream=name)
    images = views(dataset[0])
    found = stream_files(name, dataset)
    files = list(zip(found.images, found.masks, strict=True))
    plain = PlainCrops(files, tuple(images[0].shape[-2:]))
    loaders = {
        form: stream_loader(data, name, cfg, workers, seed)
        for form, data in dict(pipeline=dataset, plain=plain).items()
    }
    seconds = {form: [] for form in loaders}
    for _ in range(args.repeats):
        for form, loader in loaders.items():
            seconds[form].append(seconds_a_batch(loader, args.batches))
    count = dict(pipeline=cfg['batch_size'] * len(images), plain=cfg['batch_size'])
    rates = {f: count[f] / statistics.median(seconds[f]) for f in loaders}
    return dict(
        stream=name,
        workers=workers,
        views=len(images),
        size=list(images[0].shape[-2:]),
        seconds=seconds,
        views_per_second=rates['pipeline'],
        plain_per_second=rates['plain'],
        ratio=rates['plain'] / rates['pipeline'],
    )


def report(streams: list[dict]) -> str:
    rows = [
        [
            found['stream'],
            found['workers'],
            found['views'],
            ' x '.join(map(str, found['size'])),
            f'{found["views_per_second"]:.1f}',
            f'{found["views_per_second"] / max(found["workers"], 1):.1f}',
            f'{found["plain_per_second"]:.1f}',
            f'{found["ratio"]:.2f}',
        ]
        for found in streams
    ]
    head = 'stream, workers, views of an image, size, views / s, a worker, plain / s'
    return table([*head.split(', '), 'ratio'], rows)


def main(argv=None) -> int:
    args = parse_args(argv)
    with benchmark_config(args.config, args.cfg_options) as cfg:
        init_default_scope(cfg.default_scope)
        # As mmengine's runner sets them for training
        env = (cfg.get('env_cfg') or {}).get('mp_cfg') or {}
        cv2.setNumThreads(env.get('opencv_num_threads', 0))
        seed = (cfg.get('randomness') or {}).get('seed') or 0
        about = surroundings(args.config, seed, 'cpu')
        streams = [
            measure_stream(name, loader, workers, seed, args)
            for workers in args.workers
            for name, loader in cfg.train_dataloader.items()
        ]
    tell(about, report(streams), dict(streams=streams), args.out)
    return 0


if __name__ == '__main__':
    exit_with(main)
