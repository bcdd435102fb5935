"""Pictures of what training and validation see: images, views and masks.

One picture for each image, DIR/STREAM/NAME.png: all views that the pipeline makes of
it, side by side, and beside an image with a mask the same with the mask painted on.
Pixels without colour are ignored; padding of unlabeled images is magenta. What the
model does later (mixing of images, colours on the device) is not in the data.

examples:
  python tools/analysis_tools/browse_dataset.py my_config.py --out views
  python tools/analysis_tools/browse_dataset.py work_dirs/mine/config.py \\
      --streams unlabeled --count 30 --seed 1
"""

import argparse
import os

import cv2
import numpy as np
from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from rich.progress import track

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.datasets import StreamDataset, image_names
from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.utils import launch
from mmsemiseg.utils.overlay import overlay, titled_row

PADDING = (255, 0, 255)
TESTED = ('val', 'test')  # their masks keep the size of the file


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--out', metavar='DIR', help='folder of the pictures [WORK_DIR/browse]'
    )
    parser.add_argument(
        '--streams',
        nargs='+',
        metavar='NAME',
        help="streams to show: labeled, unlabeled, ..., 'val' and 'test' [all]",
    )
    parser.add_argument(
        '--count',
        type=int,
        default=8,
        metavar='N',
        help='images of each stream, evenly spaced [8]',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the views [0]')
    parser.add_argument(
        '--height', type=int, default=256, help='height of a view in the picture [256]'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    args = parser.parse_args(argv)
    if args.count < 1 or args.height < 1:
        parser.error('--count and --height must be at least 1')
    return args


def stream_configs(cfg, names=None):
    """Config of the data set of each stream, of `names` alone where they are given."""
    loaders = cfg.get('train_dataloader') or {}
    if 'dataset' in loaders:
        loaders = dict(labeled=loaders)
    loaders = dict(loaders)
    for part in TESTED:
        loader = cfg.get(f'{part}_dataloader')
        if loader and (part == 'val' or loader.dataset != _dataset(cfg, 'val')):
            loaders[part] = loader
    unknown = [name for name in names or () if name not in loaders]
    if unknown or not loaders:
        raise ValueError(
            f'--streams: {unknown} are not in {list(loaders)} of the config'
        )
    return {name: loaders[name]['dataset'] for name in names or loaders}


def _dataset(cfg, part):
    return (cfg.get(f'{part}_dataloader') or {}).get('dataset')


def find_views(sample, title='image'):
    """(title, image, data sample) of each view, also of test-time augmentation."""
    if 'inputs' not in sample:
        for name, view in sample.items():
            yield from find_views(view, name)
    elif isinstance(sample['inputs'], (list, tuple)):
        pairs = zip(sample['inputs'], sample['data_samples'], strict=True)
        for number, (image, data) in enumerate(pairs):
            yield f'{title} {number}', image, data
    else:
        yield title, sample['inputs'], sample['data_samples']


def as_picture(image):
    """(C, H, W) tensor -> (H, W, 3) uint8, BGR; of more than three bands the first."""
    bands = image.numpy().transpose(1, 2, 0)
    if bands.dtype != np.uint8:
        low, high = float(bands.min()), float(bands.max())
        bands = ((bands - low) * 255 / max(high - low, 1e-9)).astype(np.uint8)
    return np.repeat(bands, 3, axis=2) if bands.shape[2] == 1 else bands[..., :3].copy()


def draw(sample, palette, height):
    """All views of one sample, side by side."""
    pictures = {}
    for title, image, data in find_views(sample):
        picture = as_picture(image)
        if 'valid_map' in data:
            picture[~data.valid_map.data[0].numpy()] = PADDING
        pictures[title] = picture
        if 'gt_sem_seg' in data:
            label = data.gt_sem_seg.data[0].numpy().astype(np.uint8)
            below = cv2.resize(picture, label.shape[::-1])
            mask = 'mask' if title == 'image' else f'{title}, mask'
            pictures[mask] = overlay(below, label, palette)
    return titled_row(pictures, height)


def colours(metainfo):
    """The palette, or random colours where there is none."""
    random = np.random.default_rng(0).integers(0, 256, (255, 3))
    return metainfo.get('palette') or random.tolist()


def write_stream(name, config, folder, args):
    """Write the pictures of a stream; returns how many."""
    dataset = DATASETS.build(config)
    if name not in TESTED:
        dataset = StreamDataset(dataset, stream=name)
    names = image_names(dataset)
    palette = colours(dataset.metainfo)
    places = np.linspace(0, len(dataset) - 1, min(args.count, len(dataset)))
    places = places.round().astype(int)
    for place in track(places, f'{name}: {len(dataset)} images'):
        with sample_rng(args.seed + int(place)):
            sample = dataset[int(place)]
        file = names[dataset.get_data_info(int(place))['img_path']]
        path = os.path.join(folder, name, f'{file}.png')
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not cv2.imwrite(path, draw(sample, palette, args.height)):
            raise OSError(f'could not write {path}')
    return len(places)


def main(args):
    cfg = launch.load_config(args.config, args.cfg_options)
    init_default_scope(cfg.default_scope)
    folder = args.out or os.path.join(cfg.work_dir, 'browse')
    for name, config in stream_configs(cfg, args.streams).items():
        count = write_stream(name, config, folder, args)
        print(f'{count} pictures -> {os.path.join(folder, name)}')


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
