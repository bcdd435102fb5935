"""Convert MSRC v2 with the cleaned masks of Malisiewicz and Efros.

Reads Images/*.bmp and newsegmentations_mats/*_GT.mat below the given folder. Writes
images/{train,val} and labels/{train,val} below --out. Void, horse and mountain become
255, which leaves 21 classes.

The source has no list of a split. Here about a third of each scene, which is the first
number of a name, is for validation: sorted names, permuted by numpy's RandomState(0),
one scene after the other, of which the first third is taken, but for six images with a
near-copy. 591 images give 397 and 194.

The licence of the photographs is not told by the source, and faces are shown: for
experiments only.

examples:
  python tools/dataset_converters/msrc21.py MSRC_v2
  python tools/dataset_converters/msrc21.py MSRC_v2 --out data/msrc21 --png
"""

import argparse
import os

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmsemiseg.datasets import MSRC21Dataset
from mmsemiseg.datasets.files import find_images, name_some, strip_suffix
from mmsemiseg.datasets.mat_files import read_mat
from mmsemiseg.datasets.split import grouped
from mmsemiseg.utils.command import exit_with

VOID = 255
NAMES = (
    'building',
    'grass',
    'tree',
    'cow',
    'horse',
    'sheep',
    'sky',
    'mountain',
    'aeroplane',
    'water',
    'face',
    'car',
    'bicycle',
    'flower',
    'sign',
    'bird',
    'book',
    'chair',
    'road',
    'cat',
    'dog',
    'body',
    'boat',
)
"""What the numbers from 1 on mean in the source."""

NEAR_COPIES = {'1_26_s', '1_27_s', '4_2_s', '4_3_s', '9_10_s', '9_15_s'}
TOTAL = 591


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('msrc', help='folder with Images and newsegmentations_mats')
    parser.add_argument('--out', default='data/msrc21')
    form = parser.add_mutually_exclusive_group()
    form.add_argument(
        '--jpeg',
        type=int,
        default=92,
        metavar='QUALITY',
        help='write JPEG of this quality (1 to 100, 4:4:4); default: 92',
    )
    form.add_argument('--png', action='store_true', help='write PNG, without loss')
    args = parser.parse_args(argv)
    if not 1 <= args.jpeg <= 100:
        parser.error(f'--jpeg must be from 1 to 100, but is {args.jpeg}')
    return args


def validation(stems):
    """About a third of the stems of each scene; the same for the same names."""
    generator = np.random.RandomState(0)
    scenes = grouped(sorted(stems), r'^(\d+)_')
    chosen = set()
    for scene in sorted(scenes, key=int):
        members = scenes[scene]
        order = generator.permutation(len(members))[: round(len(members) / 3)]
        chosen.update(members[index] for index in order)
    return chosen - NEAR_COPIES


def class_numbers():
    """Number of a segment's label in the source, 0 for none -> class or ``VOID``."""
    classes = {name: i for i, name in enumerate(MSRC21Dataset.METAINFO['classes'])}
    return np.array([VOID, *(classes.get(name, VOID) for name in NAMES)], np.uint8)


def read_labels(path):
    """Classes (H, W). The segment after the last labeled one has no label."""
    segments, labels = read_mat(path, 'newseg', 'newlabels')
    labels = np.append(np.ravel(labels), 0).astype(np.int64)
    segments = np.asarray(segments).astype(np.int64)
    if segments.ndim != 2:
        raise ValueError(f'{path}: newseg must have two axes, but has {segments.ndim}')
    if labels.min() < 0 or labels.max() > len(NAMES):
        raise ValueError(
            f'{path}: newlabels must be from 0 to {len(NAMES)}, but are from '
            f'{labels.min()} to {labels.max()}'
        )
    if segments.min() < 1 or segments.max() > len(labels):
        raise ValueError(
            f'{path}: newseg must be from 1 to {len(labels)}, one more than there are '
            f'labels, but is from {segments.min()} to {segments.max()}'
        )
    return class_numbers()[labels[segments - 1]]


def find_originals(root):
    """Stem -> image and MAT file."""
    images, mats = (os.path.join(root, n) for n in ('Images', 'newsegmentations_mats'))
    for folder in (images, mats):
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f'there is no folder {folder}; give the one that holds Images and '
                'newsegmentations_mats'
            )
    originals = {}
    for name in find_images(images, ['.bmp']):
        stem = strip_suffix(name)
        paths = os.path.join(images, name), os.path.join(mats, f'{stem}_GT.mat')
        originals[stem] = paths
    if not originals:
        raise FileNotFoundError(f'there is no .bmp in {images}')
    missing = [mat for _, mat in originals.values() if not os.path.isfile(mat)]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} masks are missing: {name_some(missing)}'
        )
    return originals


def convert(source, mat, out, part, stem, jpeg=None):
    """Convert one image and its mask; without ``jpeg`` the image becomes a PNG."""
    label = read_labels(mat)
    target = os.path.join(out, 'images', part, stem)
    with Image.open(source) as image:
        if image.size != label.shape[::-1]:
            raise ValueError(
                f'image {source} has the size {image.size}, its mask '
                f'{label.shape[::-1]}'
            )
        image = image.convert('RGB')
        if jpeg is None:
            image.save(f'{target}.png')
        else:
            image.save(f'{target}.jpg', quality=jpeg, subsampling=0)
    Image.fromarray(label).save(os.path.join(out, 'labels', part, f'{stem}.png'))


def main(argv=None):
    args = parse_args(argv)
    originals = find_originals(args.msrc)
    if len(originals) != TOTAL:
        print(
            f'{len(originals)} images instead of {TOTAL}: the split is not the one of '
            'the full data set'
        )
    chosen = validation(originals)
    for part in ('train', 'val'):
        for kind in ('images', 'labels'):
            os.makedirs(os.path.join(args.out, kind, part), exist_ok=True)
    jpeg = None if args.png else args.jpeg
    for stem in track_iter_progress(list(originals)):
        part = 'val' if stem in chosen else 'train'
        convert(*originals[stem], args.out, part, stem, jpeg)
    counts = f'{len(originals) - len(chosen)} train, {len(chosen)} val'
    print(f'\n{counts} -> {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main)
