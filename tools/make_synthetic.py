"""Write a small seeded data set of textured shapes, in VOC's layout.

JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/{labeled,unlabeled,val}.txt.
Unlabeled images have no mask; --hidden writes theirs to HiddenClass/, for an audit of
pseudo labels. The same settings give the same pixels on every machine.

examples:
  python tools/make_synthetic.py --out data/synthetic
  python tools/make_synthetic.py --out data/synthetic --labeled 12 --unlabeled 400 \\
      --val 100 --size 128 --seed 1 --difficulty 0.7 --hidden
"""

import argparse
import sys

from mmsemiseg.datasets.synthetic import write_synthetic


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', required=True, help='folder of the data set')
    parser.add_argument('--labeled', type=int, default=10, help='labeled images [10]')
    parser.add_argument(
        '--unlabeled', type=int, default=240, help='unlabeled images [240]'
    )
    parser.add_argument('--val', type=int, default=50, help='validation images [50]')
    parser.add_argument(
        '--size',
        type=int,
        default=96,
        help='side of an image in pixels [96]',
    )
    parser.add_argument('--seed', type=int, default=0, help='seed of the images [0]')
    parser.add_argument(
        '--difficulty',
        type=float,
        default=0.5,
        help='how much noise, from 0 to 1 [0.5]',
    )
    parser.add_argument(
        '--hidden',
        action='store_true',
        help='write masks of unlabeled images, too, to HiddenClass/',
    )
    args = parser.parse_args(argv)
    if args.labeled < 1 or min(args.unlabeled, args.val, args.seed) < 0:
        parser.error('--labeled must be at least 1, the others not negative')
    return args


def main(argv=None):
    args = parse_args(argv)
    counts = {part: getattr(args, part) for part in ('labeled', 'unlabeled', 'val')}
    write_synthetic(
        args.out, counts, args.size, args.seed, args.difficulty, args.hidden
    )
    print(', '.join(f'{n} {part}' for part, n in counts.items()), '->', args.out)
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f'error: {error}')
