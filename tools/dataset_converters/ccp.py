"""Convert Clothing Co-Parsing (CCP) from the layout of its repository.

Reads photos/*.jpg, annotations/pixel-level/*.mat and label_list.mat below the given
folder. Writes images/{train,val,unlabeled} and labels/{train,val} below --out. The 59
labels of the source become 18 classes; photographs without pixel labels are unlabeled.
Images are resized to a long side of 320, labels by the nearest pixel.

The source has no split. Here the sorted names with labels are permuted by numpy's
RandomState(0), and the first 250 of 1 004 (a smaller part of fewer) are for validation,
but for five images that have a near-copy. 2 098 images give 759, 245 and 1 094.

The rights of the photographs are not told by the source, and people are shown: for
experiments only.

examples:
  python tools/dataset_converters/ccp.py clothing-co-parsing
  python tools/dataset_converters/ccp.py clothing-co-parsing --out data/ccp-full \\
      --full-size
"""

import argparse
import os
import shutil

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmsemiseg.datasets import CCPDataset
from mmsemiseg.datasets.files import find_images, name_some, strip_suffix
from mmsemiseg.datasets.mat_files import read_mat
from mmsemiseg.utils.command import exit_with

PARTS = ('train', 'val', 'unlabeled')
LABELS = dict(
    background='null',
    skin='skin',
    hair='hair',
    hat='hat',
    eyewear='glasses sunglasses',
    scarf_tie='scarf tie',
    top='blouse bodysuit bra intimate shirt t-shirt top vest swimwear panties',
    knitwear='cardigan hoodie jumper sweater sweatshirt',
    outerwear='blazer cape coat jacket suit',
    dress='dress romper',
    trousers='pants jeans leggings',
    shorts='shorts',
    skirt='skirt',
    legwear='stockings tights socks',
    footwear='boots clogs flats heels loafers pumps sandals shoes sneakers wedges',
    bag='bag purse wallet',
    belt='belt',
    accessories='accessories bracelet earrings necklace ring watch gloves',
)
"""Class -> labels of the source."""

NEAR_COPIES = {'0078', '0343', '0403', '0730', '0984'}
LABELED, VALIDATION = 1004, 250


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('ccp', help='folder with photos, annotations, label_list.mat')
    parser.add_argument('--out', default='data/ccp')
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        '--long-side',
        type=int,
        default=320,
        metavar='PIXELS',
        help='long side of the images that are written; default: 320',
    )
    size.add_argument('--full-size', action='store_true', help='copy the photographs')
    parser.add_argument(
        '--jpeg',
        type=int,
        default=92,
        metavar='QUALITY',
        help='quality of resized images (1 to 100); default: 92',
    )
    args = parser.parse_args(argv)
    if args.long_side < 1:
        parser.error(f'--long-side must be at least 1, but is {args.long_side}')
    if not 1 <= args.jpeg <= 100:
        parser.error(f'--jpeg must be from 1 to 100, but is {args.jpeg}')
    return args


def validation(stems):
    """About a quarter of the stems; the same for the same names."""
    stems = sorted(stems)
    count = VALIDATION * len(stems) // LABELED
    order = np.random.RandomState(0).permutation(len(stems))[:count]
    return {stems[index] for index in order} - NEAR_COPIES


def class_numbers(path):
    """Number of a label in the source -> class."""
    classes = CCPDataset.METAINFO['classes']
    class_of = {
        label: classes.index(name)
        for name, labels in LABELS.items()
        for label in labels.split()
    }
    names = [str(name) for name in np.ravel(read_mat(path, 'label_list')[0])]
    unknown = sorted(set(names) ^ set(class_of))
    if unknown:
        raise ValueError(
            f'{path} must list the {len(class_of)} labels of CCP, but these are '
            f'missing or new: {name_some(unknown)}'
        )
    return np.array([class_of[name] for name in names], np.uint8)


def read_labels(path, classes):
    """Classes (H, W)."""
    labels = np.asarray(read_mat(path, 'groundtruth')[0])
    if labels.ndim != 2 or labels.max() >= len(classes):
        raise ValueError(
            f'{path}: groundtruth must have two axes and values below {len(classes)}, '
            f'but has the shape {labels.shape} and values up to {labels.max()}'
        )
    return classes[labels]


def find_parts(root):
    """Stem of each photograph -> its part."""
    photos = os.path.join(root, 'photos')
    masks = os.path.join(root, 'annotations', 'pixel-level')
    for folder in (photos, masks):
        if not os.path.isdir(folder):
            raise FileNotFoundError(
                f'there is no folder {folder}; give the one that holds photos and '
                'annotations'
            )
    stems = [strip_suffix(name) for name in find_images(photos, ['.jpg'])]
    labeled = {name[:-4] for name in os.listdir(masks) if name.endswith('.mat')}
    lost = sorted(labeled - set(stems))
    if lost:
        raise FileNotFoundError(
            f'{len(lost)} masks have no photograph in {photos}: {name_some(lost)}'
        )
    if not labeled:
        raise FileNotFoundError(f'there is no .mat in {masks}')
    if len(labeled) != LABELED:
        print(
            f'{len(labeled)} images with labels instead of {LABELED}: the split is not '
            'the one of the full data set'
        )
    chosen = validation(labeled)
    return {
        stem: ('val' if stem in chosen else 'train') if stem in labeled else 'unlabeled'
        for stem in stems
    }


def convert(source, target, long_side=None, jpeg=92):
    """Write one photograph; returns its size before and after."""
    with Image.open(source) as image:
        full = image.size
        if long_side is None:
            shutil.copyfile(source, target)
            return full, full
        size = tuple(max(round(side * long_side / max(full)), 1) for side in full)
        image = image.convert('RGB').resize(size, Image.Resampling.LANCZOS)
        image.save(target, quality=jpeg)
    return full, size


def main(argv=None):
    args = parse_args(argv)
    parts = find_parts(args.ccp)
    classes = class_numbers(os.path.join(args.ccp, 'label_list.mat'))
    for part in PARTS:
        os.makedirs(os.path.join(args.out, 'images', part), exist_ok=True)
        if part != 'unlabeled':
            os.makedirs(os.path.join(args.out, 'labels', part), exist_ok=True)
    long_side = None if args.full_size else args.long_side
    for stem, part in track_iter_progress(list(parts.items())):
        source = os.path.join(args.ccp, 'photos', f'{stem}.jpg')
        target = os.path.join(args.out, 'images', part, f'{stem}.jpg')
        full, size = convert(source, target, long_side, args.jpeg)
        if part == 'unlabeled':
            continue
        path = os.path.join(args.ccp, 'annotations', 'pixel-level', f'{stem}.mat')
        label = read_labels(path, classes)
        if label.shape[::-1] != full:
            raise ValueError(
                f'image {source} has the size {full}, its mask {label.shape[::-1]}'
            )
        mask = Image.fromarray(label).resize(size, Image.Resampling.NEAREST)
        mask.save(os.path.join(args.out, 'labels', part, f'{stem}.png'))
    found = list(parts.values())
    counts = ', '.join(f'{found.count(part)} {part}' for part in PARTS)
    print(f'\n{counts} -> {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main)
