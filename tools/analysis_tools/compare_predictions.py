"""Predictions of several networks on the same images, side by side.

One picture an image: image | truth | a column for each network, with its mIoU on that
image, and the classes below. Networks of any method and plain mmseg segmentors work;
each predicts by the test pipeline and the test_cfg of its own config. NETWORK is
student, teacher or mean; of several pairs student0, teacher1, ..., mean, mean_students
or mean_teachers. The images are drawn at random, not chosen.

examples:
  python tools/analysis_tools/compare_predictions.py \\
      SupOnly=work_dirs/sup/config.py:work_dirs/sup/iter_9.pth \\
      MeanTeacher=work_dirs/mt/config.py:work_dirs/mt/iter_9.pth:teacher \\
      --count 6 --seed 0 --out predictions
  python tools/analysis_tools/compare_predictions.py NAME=config.py:last.pth \\
      --images photos --masks masks --grid
"""

import argparse
import csv
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.functional.pseudo_label import IGNORE_INDEX
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.overlay import overlay, titled_row
from mmsemiseg.visualization.arguments import add_image_arguments, add_network_arguments
from mmsemiseg.visualization.data_sets import dataset_infos, evaluation_sets
from mmsemiseg.visualization.images import draw, find_infos, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.pictures import legend, write_picture
from mmsemiseg.visualization.tables import markdown

GAP = 4  # pixels between the cells of a grid


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    add_image_arguments(parser, "the first config's test data")
    parser.add_argument(
        '--out', type=Path, default='work_dirs/predictions', metavar='DIR'
    )
    parser.add_argument(
        '--height', type=int, default=240, help='height of a column [240]'
    )
    parser.add_argument(
        '--alpha', type=float, default=0.6, help='opacity of the colours [0.6]'
    )
    parser.add_argument(
        '--grid',
        action='store_true',
        help='write all images into one picture, too: grid.png',
    )
    return parser.parse_args(argv)


def image_miou(label: np.ndarray, truth: np.ndarray, num_classes: int) -> float:
    """Mean IoU in percent of the classes in label or truth; NaN where there is none.

    >>> image_miou(np.array([[0, 1]]), np.array([[0, 0]]), 3)
    25.0
    """
    counted = truth != IGNORE_INDEX
    label, truth = label[counted].astype(np.int64), truth[counted].astype(np.int64)
    table = np.bincount(truth * num_classes + label, minlength=num_classes**2)
    table = table.reshape(num_classes, num_classes)
    union = table.sum(0) + table.sum(1) - table.diagonal()
    ious = table.diagonal()[union > 0] / union[union > 0]
    return 100 * float(ious.mean()) if ious.size else float('nan')


class Comparison(NamedTuple):
    """What is shown of one image."""

    columns: dict[str, np.ndarray]  # title -> picture (H, W, 3)
    labels: list[np.ndarray]  # truth, if there is one, and predictions
    scores: dict[str, float]  # mIoU of each network; NaN without truth


def compare(networks: list[Network], info: dict, alpha: float) -> Comparison:
    classes, palette = networks[0].classes, networks[0].palette
    image, truth = read_image(networks[0], info)
    columns, labels, scores = dict(image=image), [], {}
    if truth is not None:
        columns['truth'] = overlay(image, truth, palette, alpha)
        labels.append(truth)
    for network in networks:
        label = network.predict(info)
        if label.shape != image.shape[:2]:
            raise ValueError(
                f'{network.name} predicts {label.shape} for {info["img_path"]}, but '
                f'{networks[0].name} {image.shape[:2]}: give both configs one protocol'
            )
        score = float('nan')
        if truth is not None:
            score = image_miou(label, truth, len(classes))
        columns[network.name] = overlay(image, label, palette, alpha)
        labels.append(label)
        scores[network.name] = score
    return Comparison(columns, labels, scores)


def one_row(found: Comparison, network: Network, height: int) -> np.ndarray:
    """The picture of one image; titles have the scores."""
    columns = {}
    for name, picture in found.columns.items():
        score = found.scores.get(name, float('nan'))
        columns[name if np.isnan(score) else f'{name} {score:.1f}'] = picture
    row = titled_row(columns, height)
    classes, palette = network.classes, network.palette
    return np.vstack([row, legend(found.labels, classes, palette, row.shape[1])])


def grid(found: list[Comparison], network: Network, height: int) -> np.ndarray:
    """An image in each row, below one line of titles.

    Columns are as wide as the widest image; what an image lacks is white.
    """
    titles = list(max((one.columns for one in found), key=len))
    shapes = [one.columns['image'].shape for one in found]
    width = max(round(shape[1] * height / shape[0]) for shape in shapes)
    rows = []
    for one in found:
        cells = {t: cell(one.columns.get(t), height, width) for t in titles}
        row = titled_row(cells, height + GAP)
        rows.append(row[-height - GAP :] if rows else row)
    labels = [label for one in found for label in one.labels]
    below = legend(labels, network.classes, network.palette, rows[0].shape[1])
    return np.vstack([*rows, below])


def cell(picture: np.ndarray | None, height: int, width: int) -> np.ndarray:
    """The picture in the middle of a white one, above and left of a gap."""
    white = np.full((height + GAP, width + GAP, 3), 255, np.uint8)
    if picture is None:
        return white
    own = round(picture.shape[1] * height / picture.shape[0])
    left = (width - own) // 2
    small = cv2.resize(picture, (own, height), interpolation=cv2.INTER_NEAREST)
    white[:height, left : left + own] = small
    return white


def main(argv=None) -> int:
    args = parse_args(argv)
    networks = load_networks(args.networks, args.device)
    taken = {'image', 'truth'} & {network.name for network in networks}
    if taken:
        raise ValueError(f'{taken.pop()} is the name of another column, not a network')
    if args.images is None:
        infos = dataset_infos(evaluation_sets(networks[0].cfg))
    else:
        infos = find_infos(args, networks[0].data)
    rows, kept = [], []
    for number, info in enumerate(draw(infos, args.count, args.seed)):
        found = compare(networks, info, args.alpha)
        name = f'{number:02d}_{Path(info["img_path"]).stem}.png'
        write_picture(args.out / name, one_row(found, networks[0], args.height))
        rows.append([name, *found.scores.values()])
        if args.grid:
            kept.append(found)
    if args.grid:
        write_picture(args.out / 'grid.png', grid(kept, networks[0], args.height))
    head = ['mIoU of an image in %', *(network.name for network in networks)]
    with open(args.out / 'miou.csv', 'w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows([head, *rows])
    mean = np.array([scores for _, *scores in rows]).mean(0)
    cells = [[name, *(f'{s:.1f}' for s in scores)] for name, *scores in rows]
    print(markdown(head, [*cells, ['mean', *(f'{s:.1f}' for s in mean)]]))
    print(f'pictures: {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
