"""Choose the labeled images of a data set, or audit a published split.

Writes `labeled.txt`, `unlabeled.txt` (names without suffix, below --images) and
`split.json` (hashes, sizes, class histogram, seed, settings). The same settings give
the same files on every machine.

examples:
  # 1/8 of the images, seed 1
  python tools/make_split.py --images data/voc/JPEGImages --fraction 1/8 --seed 1 \\
      --out data/voc/splits/1_8_seed1

  # 100 images with every class in them
  python tools/make_split.py --images data/x/images --masks data/x/labels \\
      --count 100 --stratified --out data/x/splits/100

  # 24 frames of two video sequences, evenly spaced; the others are unlabeled
  python tools/make_split.py --images data/camvid/images/train \\
      --masks data/camvid/labels/train --prefix 0001TP --prefix 0006R0 --even \\
      --count 24 --out data/camvid/splits/two_sequences_24

  # three images of each of 20 scenes, which the names tell (3_12_s is of scene 3)
  python tools/make_split.py --images data/msrc21/images/train \\
      --masks data/msrc21/labels/train --group '^(\\d+)_' --count 60 \\
      --out data/msrc21/splits/60

  # is a published split sound? With --out it is also written in our form
  python tools/make_split.py --images data/voc/JPEGImages \\
      --masks data/voc/SegmentationClass --audit labeled.txt unlabeled.txt
"""

import argparse
import os
from collections import Counter
from fractions import Fraction

from mmsemiseg.datasets.files import find_images, strip_suffix
from mmsemiseg.datasets.split import (
    evenly_spaced,
    from_each_group,
    grouped,
    shuffled,
    stratified,
    with_prefix,
)
from mmsemiseg.datasets.split_files import (
    MaskFolder,
    audit_split,
    import_list,
    write_split,
)
from mmsemiseg.utils.command import exit_with


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--images', required=True, help='folder of all images')
    parser.add_argument('--masks', help='folder of masks with the same names')
    parser.add_argument(
        '--mask-suffix', default='.png', help='end of mask names [.png]'
    )
    parser.add_argument('--out', help='folder for the files of the split')
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--fraction', type=Fraction, help='labeled share: 1/8 or 0.125')
    size.add_argument('--count', type=int, help='number of labeled images')
    parser.add_argument('--seed', type=int, default=0, help='seed of the choice [0]')
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        '--stratified',
        action='store_true',
        help='have every class among the labels, with shares near those of all images; '
        'needs --masks',
    )
    how.add_argument('--even', action='store_true', help='take evenly spaced names')
    how.add_argument(
        '--group',
        metavar='REGEX',
        help='take as many images of every group: what the first (...) finds in a name '
        'is its group. A group that is smaller than its share gives all it has; what '
        'is left over comes from groups drawn by the seed',
    )
    parser.add_argument(
        '--prefix',
        action='append',
        default=[],
        help='label only images whose name begins so; --fraction is of these',
    )
    parser.add_argument(
        '--ignore-index', type=int, default=255, help='ignored value of masks [255]'
    )
    parser.add_argument(
        '--reduce-zero-label',
        action='store_true',
        help='0 in the masks is ignored, and class k is k + 1',
    )
    parser.add_argument(
        '--audit',
        nargs=2,
        metavar=('LABELED', 'UNLABELED'),
        help='check these two lists of a published split, in place of a choice',
    )
    args = parser.parse_args(argv)
    if args.audit is None and args.out is None:
        parser.error('--out is required')
    if args.stratified and not args.masks:
        parser.error('--stratified needs --masks')
    return args


def choose(args, stems, masks):
    """The labeled stems that the settings ask for."""
    candidates = with_prefix(stems, args.prefix) if args.prefix else stems
    count = len(candidates) if args.prefix else None
    if args.count is not None:
        count = args.count
    elif args.fraction is not None:
        count = int(args.fraction * len(candidates) + Fraction(1, 2))
    if count is None:
        raise ValueError('set --count, --fraction or --prefix')
    if not 1 <= count <= len(candidates):
        raise ValueError(
            f'the number of labeled images must be from 1 to {len(candidates)}, '
            f'but is {count}'
        )
    if args.even:
        return evenly_spaced(candidates, count)
    if args.stratified:
        return stratified(candidates, count, masks.count(candidates), args.seed)
    if args.group is not None:
        return _from_each_group(candidates, args.group, count, args.seed)
    return shuffled(candidates, args.seed)[:count]


def _from_each_group(stems, pattern, count, seed):
    groups = grouped(stems, pattern)
    chosen = from_each_group(groups, count, seed)
    taken = Counter(map(len, grouped(chosen, pattern).values()))
    shares = [f'{taken[n]} with {n}' for n in sorted(taken, reverse=True)]
    print(f'groups by their labeled images: {", ".join(shares)}')
    return chosen


def audit(args, stems, masks):
    """Report on a given split; write it in our form where --out is set."""
    lists = [import_list(path, stems) for path in args.audit]
    problems = audit_split(*lists, stems, masks)
    labeled, unlabeled = ([s for s in found if s is not None] for _, found in lists)
    print(f'{len(labeled)} labeled, {len(unlabeled)} unlabeled, {len(stems)} images')
    for problem in problems:
        print(f'PROBLEM: {problem}')
    if problems:
        return 1
    print('no problem found')
    if args.out:
        settings = dict(imported=[os.path.basename(path) for path in args.audit])
        write_split(args.out, labeled, unlabeled, settings, masks)
    return 0


def main(argv=None):
    args = parse_args(argv)
    stems = [strip_suffix(name) for name in find_images(args.images)]
    repeated = sorted(stem for stem, n in Counter(stems).items() if n > 1)
    if repeated:
        raise ValueError(f'--images {args.images}: files of one stem: {repeated[:10]}')
    if not stems:
        raise ValueError(f'--images {args.images}: no image')
    masks = None
    if args.masks:
        masks = MaskFolder(
            args.masks, args.mask_suffix, args.ignore_index, args.reduce_zero_label
        )
    if args.audit:
        return audit(args, stems, masks)
    labeled = choose(args, stems, masks)
    chosen = set(labeled)
    unlabeled = [stem for stem in stems if stem not in chosen]
    settings = dict(
        fraction=None if args.fraction is None else str(args.fraction),
        count=args.count,
        seed=args.seed,
        stratified=args.stratified,
        even=args.even,
        group=args.group,
        prefix=args.prefix,
    )
    write_split(args.out, labeled, unlabeled, settings, masks)
    print(f'{len(labeled)} labeled and {len(unlabeled)} unlabeled -> {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main)
