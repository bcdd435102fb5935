"""Soft labels of a teacher: entropy, dominant classes, object parts, their pairs.

For a checkpoint of ESL. The images are drawn at random, not chosen.

--show labels: one picture an image: the image, the teacher's prediction, its entropy
(dark: none, bright: that of a uniform distribution), the number of classes that its
soft label keeps (dark: one), and, with a contrast, the parts of the predicted classes,
each in a shade of its class. The table has the share of the pixels with 1, 2, 3 and
more dominant classes.
--show pairs: anchors (yellow) in one image, the part of another image that each is
pulled to (green) and some that it is pushed from (red), drawn as in training, but from
the parts of the drawn images. The table has their cosines.
--show shares: the share of each class in hard labels, in soft ones and, where there are
masks, in the truth, over all drawn images.

examples:
  python tools/analysis_tools/soft_labels.py \\
      ESL=work_dirs/esl/config.py:work_dirs/esl/iter_9.pth --count 4 --out soft_labels
  python tools/analysis_tools/soft_labels.py --show shares --count 200 \\
      ESL=work_dirs/esl/config.py:work_dirs/esl/iter_9.pth --out soft_labels
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.functional import assign_parts
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.overlay import overlay, titled_row
from mmsemiseg.visualization.arguments import add_image_arguments, add_network_arguments
from mmsemiseg.visualization.data_sets import dataset_infos, evaluation_sets
from mmsemiseg.visualization.images import draw, find_infos, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.part_pairs import (
    draw_pairs,
    paint_pairs,
    see_parts,
    similarities,
)
from mmsemiseg.visualization.pictures import legend, write_picture
from mmsemiseg.visualization.plots import new_plot, save_plot
from mmsemiseg.visualization.tables import markdown


class View(NamedTuple):
    """Maps (H, W) of a teacher, at the size of the image."""

    label: np.ndarray
    entropy: np.ndarray  # 0 to 1
    number: np.ndarray  # dominant classes
    part: np.ndarray | None  # number of the part in its class; -1: none
    soft: np.ndarray  # (C,) share of each class in the soft labels


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    parser.add_argument('--show', choices=SHOW, default='labels', help='[labels]')
    add_image_arguments(parser, "the config's test data")
    parser.add_argument(
        '--out', type=Path, default='work_dirs/soft_labels', metavar='DIR'
    )
    parser.add_argument('--height', type=int, default=192, help='of a column [192]')
    parser.add_argument('--anchors', type=int, default=3, help='of an image [3]')
    parser.add_argument('--negatives', type=int, default=3, help='of an anchor [3]')
    return parser.parse_args(argv)


@torch.no_grad()
def look(network: Network, info: dict) -> View:
    """What the teacher says of an image, prepared by the test pipeline."""
    model, item = network.model, network.load(info)
    inputs = network.prepare(item)['inputs']
    sample = item['data_samples']
    inner, shape = tuple(sample.img_shape), tuple(sample.ori_shape)
    output = model.adapter(model.teacher, inputs)
    logits = model.upsampled(output.logits, inputs)[..., : inner[0], : inner[1]]
    valid = torch.ones_like(logits[:, 0], dtype=torch.bool)
    pseudo = model.pseudo_label(logits, valid)
    probs = logits.float().softmax(1)
    entropy = -torch.xlogy(probs, probs).sum(1) / math.log(probs.shape[1])
    number = torch.ones_like(pseudo.label)
    soft = torch.bincount(pseudo.label.flatten(), minlength=probs.shape[1]).float()
    if pseudo.probs is not None:
        number = (pseudo.probs > 0).sum(1)
        soft = pseudo.probs.sum((0, 2, 3))
    part = None
    if model.contrast is not None:
        prototypes = model.contrast.prototypes
        label = model.upsampled(output.logits, inputs).argmax(1)
        part = assign_parts(
            output.features[1],
            prototypes.vectors,
            label,
            tuple(inputs.shape[2:]),
            prototypes.known,
            model.align_corners,
        )[..., : inner[0], : inner[1]]
        part = torch.where(part < 0, -1, part % model.contrast.num_parts)

    def to_image(values: Tensor | None) -> np.ndarray | None:
        if values is None:
            return None
        values = values[0].cpu().numpy()
        kind = np.float32 if values.dtype.kind == 'f' else np.int32
        size = shape[::-1]
        return cv2.resize(values.astype(kind), size, interpolation=cv2.INTER_NEAREST)

    maps = map(to_image, (pseudo.label, entropy, number, part))
    return View(*maps, (soft / soft.sum()).cpu().numpy())


# Labels


def heat(values: np.ndarray, most: float) -> np.ndarray:
    scaled = np.clip(255 * values / most, 0, 255).astype(np.uint8)
    return cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)


def shades(view: View, palette, parts: int) -> np.ndarray:
    """Colours of the classes, the parts from dark to bright; black without a part."""
    colours = np.asarray(palette, np.float32)[view.label][..., ::-1]
    share = (view.part + 1)[..., None] / parts
    return (
        (colours * share + 255 * 0.4 * share * (1 - share))
        .clip(0, 255)
        .astype(np.uint8)
    )


def show_labels(args: argparse.Namespace, network: Network, infos: list[dict]) -> None:
    model, rows = network.model, []
    for number, info in enumerate(infos):
        image, _ = read_image(network, info)
        view = look(network, info)
        columns = dict(image=image, teacher=overlay(image, view.label, network.palette))
        columns['entropy'] = heat(view.entropy, 1)
        columns['dominant classes'] = heat(view.number - 1, 4)
        if view.part is not None:
            parts = model.contrast.num_parts
            columns['parts'] = shades(view, network.palette, parts)
        name = picture_name(number, info)
        row = titled_row(columns, args.height)
        below = legend([view.label], network.classes, network.palette, row.shape[1])
        write_picture(args.out / name, np.vstack([row, below]))
        shares = [(view.number == k).mean() for k in (1, 2, 3)]
        shares.append((view.number > 3).mean())
        mean = f'{view.entropy.mean():.3f}'
        rows.append([name, mean, *(f'{100 * share:.1f}' for share in shares)])
    head = ['picture', 'entropy', '1 class %', '2 classes %', '3 classes %', 'more %']
    print(markdown(head, rows))
    print(f'pictures: {args.out}')


def picture_name(number: int, info: dict) -> str:
    return f'{number:02d}_{Path(info["img_path"]).stem}.png'


# Pairs


def show_pairs(args: argparse.Namespace, network: Network, infos: list[dict]) -> None:
    if network.model.contrast is None:
        raise ValueError(f'--show pairs: {network.name} has no contrast')
    images = [see_parts(network, info) for info in infos]
    pictures, views = [], [look(network, info) for info in infos]
    parts = network.model.contrast.num_parts
    for view, info in zip(views, infos, strict=True):
        image, _ = read_image(network, info)
        mixed = cv2.addWeighted(
            image, 0.5, shades(view, network.palette, parts), 0.5, 0
        )
        width = round(image.shape[1] * args.height / image.shape[0])
        pictures.append(cv2.resize(mixed, (width, args.height)))
    rng, rows = np.random.default_rng(args.seed), []
    for number, info in enumerate(infos):
        pairs = draw_pairs(images, number, args.anchors, args.negatives, rng)
        name = picture_name(number, info)
        row = paint_pairs(pictures, images, number, pairs)
        labels = [view.label for view in views]
        below = legend(labels, network.classes, network.palette, row.shape[1])
        write_picture(args.out / name, np.vstack([row, below]))
        for pair in pairs:
            positive, *negatives = similarities(images, number, pair)
            c, k = divmod(pair.part, parts)
            cosines = f'{positive:.3f}', f'{np.mean(negatives):.3f}'
            rows.append([name, network.classes[c], str(k), *cosines])
    print(markdown(['picture', 'class', 'part', 'positive', 'negatives'], rows))
    print(f'pictures: {args.out}')


# Shares of the classes


def show_shares(args: argparse.Namespace, network: Network, infos: list[dict]) -> None:
    number = len(network.classes)
    found = dict(truth=np.zeros(number), hard=np.zeros(number), soft=np.zeros(number))
    for info in infos:
        _, truth = read_image(network, info)
        view = look(network, info)
        found['hard'] += np.bincount(view.label.ravel(), minlength=number)
        found['soft'] += view.label.size * view.soft
        if truth is not None:
            known = truth[truth < number]
            found['truth'] += np.bincount(known, minlength=number)
    shares = {k: v / v.sum() for k, v in found.items() if v.sum()}
    rows = [
        [name, *(f'{100 * share[c]:.2f}' for share in shares.values())]
        for c, name in enumerate(network.classes)
    ]
    rows.append(['balance', *(f'{balance(share):.3f}' for share in shares.values())])
    print(markdown(['class', *(f'{name} %' for name in shares)], rows))
    plot_shares(args.out / 'shares.png', network.classes, shares)
    print(f'picture: {args.out / "shares.png"}')


def balance(share: np.ndarray) -> float:
    """Entropy of the shares; 1: all classes have the same, 0: one has all."""
    some = share[share > 0]
    return float(-(some * np.log(some)).sum() / math.log(len(share)))


def plot_shares(path: Path, classes: list[str], shares: dict[str, np.ndarray]) -> None:
    figure, axes = new_plot(size=(max(5, 0.4 * len(classes)), 3.2))
    width = 0.8 / len(shares)
    for number, (name, share) in enumerate(shares.items()):
        places = np.arange(len(classes)) + (number - (len(shares) - 1) / 2) * width
        axes.bar(places, 100 * share, width, label=name)
    axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=7)
    axes.set_yscale('log')
    axes.set_ylabel('share of the pixels (%)')
    axes.legend()
    save_plot(figure, path)


SHOW = dict(labels=show_labels, pairs=show_pairs, shares=show_shares)


def main(argv=None) -> int:
    args = parse_args(argv)
    networks = load_networks(args.networks, args.device)
    network = networks[0]
    if len(networks) != 1 or type(network.model).__name__ != 'ESL':
        raise ValueError(
            'soft labels are those of one checkpoint of ESL, but got '
            f'{[f"{n.name} ({type(n.model).__name__})" for n in networks]}'
        )
    if args.images is None:
        infos = dataset_infos(evaluation_sets(network.cfg))
    else:
        infos = find_infos(args, network.data)
    SHOW[args.show](args, network, draw(infos, args.count, args.seed))
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
