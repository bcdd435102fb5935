"""Features of the overlap of two crops: how far do they move with the context?

Three inputs show the same region of an image:

- I: a crop;
- II: another crop that overlaps it, so with another context;
- III: the crop I with other colours and blurred, so with low-level augmentation.

The features of the region in all three, of unit length, are laid out by t-SNE in one
common space for each network, coloured by class. Printed is the mean cosine similarity
of a place's features in I and II, and in I and III: without t-SNE, which keeps no
distances. The crops are the same for all networks.

With --embedding the features are those of a method's projector, else what --feature
says. Classes are those of the mask, without one the network's prediction on I. t-SNE
needs scikit-learn (pip install -e ".[viz]").

examples:
  python tools/analysis_tools/embed_overlap.py \\
      SupOnly=work_dirs/sup/config.py:work_dirs/sup/iter_9.pth \\
      CAC=work_dirs/cac/config.py:work_dirs/cac/iter_9.pth \\
      --image photo.jpg --mask photo.png --crop-size 160 160 --out overlap.png
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.datasets.transforms import (
    ColorJitter,
    GaussianBlur,
    OverlapCrops,
    RecordValidity,
)
from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.evaluation import cell_labels
from mmsemiseg.functional.pseudo_label import IGNORE_INDEX
from mmsemiseg.models.contrast.overlap import match_crops
from mmsemiseg.models.heads import unit_length
from mmsemiseg.utils.command import exit_with
from mmsemiseg.visualization.arguments import add_network_arguments, feature_name
from mmsemiseg.visualization.embedding import lay_out, tsne
from mmsemiseg.visualization.images import cut_truth, one_info, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.pictures import YELLOW
from mmsemiseg.visualization.plots import new_plot, save_plot
from mmsemiseg.visualization.tables import markdown

TITLES = ('I: crop', 'II: other context', 'III: other colours')


class Inputs(NamedTuple):
    """The three inputs as packed samples, and the truth of I (h, w) or None."""

    items: list[dict]
    boxes: list[tuple[int, int, int, int]]  # the overlap: top, left, height, width
    truth: Tensor | None


class Points(NamedTuple):
    """n places of the overlap, seen in I, II and III."""

    features: list[Tensor]  # three (n, D) of unit length
    label: Tensor  # (n,), 255 where not known


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    parser.add_argument('--image', required=True)
    parser.add_argument('--mask', help='true mask of the image')
    parser.add_argument(
        '--crop-size', type=int, nargs=2, default=(320, 320), metavar=('H', 'W')
    )
    parser.add_argument(
        '--iou-range',
        type=float,
        nargs=2,
        default=(0.1, 0.4),
        metavar=('LOW', 'HIGH'),
        help='intersection over union of the crops [0.1 0.4]',
    )
    parser.add_argument(
        '--stride', type=int, default=8, help='side of a cell in pixels [8]'
    )
    parser.add_argument(
        '--seed', type=int, default=0, help='seed of crops and t-SNE [0]'
    )
    parser.add_argument(
        '--feature',
        type=feature_name,
        default='pre_cls',
        help='layer of the features: pre_cls, stage4, ... [pre_cls]',
    )
    parser.add_argument(
        '--embedding', action='store_true', help='show the output of the projector'
    )
    parser.add_argument(
        '--points',
        type=int,
        default=400,
        help='largest number of places, drawn at random [400]',
    )
    parser.add_argument(
        '--perplexity', type=float, default=30, help='perplexity of t-SNE [30]'
    )
    parser.add_argument(
        '--out', type=Path, default='work_dirs/embed_overlap.png', metavar='FILE'
    )
    return parser.parse_args(argv)


# Inputs


def make_inputs(args: argparse.Namespace, network: Network) -> Inputs:
    info = one_info(args.image, args.mask, network.data)
    image, mask = read_image(network, info)
    crops = OverlapCrops(tuple(args.crop_size), tuple(args.iou_range), args.stride)
    crops.shared.transforms[0] = RecordValidity(record_geometry=True)
    shape = image.shape[:2]
    results = dict(img_path=args.image, img=image, img_shape=shape, ori_shape=shape)
    with sample_rng(args.seed):
        first, second = crops(results).values()
        third = dict(first, inputs=recolour(first['inputs']))
    samples = first['data_samples'], second['data_samples']
    truth = None if mask is None else cut_truth(mask, samples[0])
    for sample in samples:
        del sample.coords
    offsets = [np.array(sample.crop_offset) for sample in samples]
    if (offsets[0] == offsets[1]).all():
        raise ValueError(
            f'--iou-range {args.iou_range[0]:g} {args.iou_range[1]:g} gave no second '
            f'crop of {crops.crop_size} in {args.image}, which is {shape}: take a '
            'larger range or smaller crops'
        )
    corner, size = np.maximum(*offsets), crops.crop_size - abs(offsets[0] - offsets[1])
    boxes = [(*(corner - offset).tolist(), *size.tolist()) for offset in offsets]
    return Inputs([first, second, third], [*boxes, boxes[0]], truth)


def recolour(image: Tensor) -> Tensor:
    """(3, H, W) uint8 BGR with the low-level augmentation of CAC, always applied."""
    results = dict(img=np.ascontiguousarray(image.permute(1, 2, 0).numpy()))
    for transform in (ColorJitter(0.4, 0.4, 0.4, 0.1, prob=1), GaussianBlur(prob=1)):
        results = transform(results)
    return torch.from_numpy(results['img']).permute(2, 0, 1).contiguous()


# Features


@torch.no_grad()
def overlap_points(
    network: Network, inputs: Inputs, feature: str | int, embedding: bool, stride: int
) -> Points:
    """The features of all places of the overlap, in a grid of ``stride`` pixels."""
    adapter = network.adapter(feature)
    batches = [network.batch([item]) for item in inputs.items]
    shape = tuple(batches[0].inputs.shape[2:])
    size = shape[0] // stride, shape[1] // stride
    features, labels = [], []
    for batch in batches:
        output = adapter(network.segmentor, batch.inputs)
        cells = F.adaptive_avg_pool2d(output.features.float(), size)
        cells = projector(network)(cells) if embedding else unit_length(cells)
        features.append(cells[0].flatten(1).T)
        logits = F.adaptive_avg_pool2d(output.logits.float(), size)
        labels.append(logits[0].argmax(0).flatten())
    label = labels[0]
    if inputs.truth is not None:
        truth = cell_labels(inputs.truth[None], size, len(network.classes))
        label = truth.flatten().to(label.device)
    index, found = match_crops(batches[0], batches[1], size)[0]
    found &= label != IGNORE_INDEX
    first, second, third = features
    places = found[0].nonzero().flatten()
    both = [first[places], second[index[0, places]], third[places]]
    return Points([part.cpu() for part in both], label[places].cpu())


def projector(network: Network):
    module = network.projector
    if module is None:
        raise ValueError(
            f'--embedding: {network.name} is a {type(network.model).__name__} '
            'without a projector'
        )
    return module


def similarity(points: Points) -> tuple[float, float]:
    """Mean cosine of the features in I and II, and in I and III."""
    first, second, third = points.features
    context, colours = ((first * other).sum(1).mean() for other in (second, third))
    return float(context), float(colours)


def lay_out_places(points: Points, perplexity: float, seed: int) -> np.ndarray:
    """(3, n, 2): t-SNE of all three in one space."""
    return lay_out(torch.cat(points.features), perplexity, seed).reshape(3, -1, 2)


def thin_out(points: Points, number: int, seed: int) -> Points:
    """``number`` places at most, drawn at random."""
    if number < 2:
        raise ValueError(f'--points must be at least 2, but got {number}')
    order = np.random.default_rng(seed).permutation(len(points.label))[:number]
    chosen = torch.from_numpy(np.sort(order))
    return Points([part[chosen] for part in points.features], points.label[chosen])


# Picture


def draw_figure(inputs: Inputs, rows: dict, network: Network, path: Path) -> None:
    """Inputs above, below them a row of three scatter plots for each network."""
    figure, axes = new_plot(3, 1 + len(rows), size=(2.6, 2.6))
    for column, (item, box) in enumerate(zip(inputs.items, inputs.boxes, strict=True)):
        image = np.ascontiguousarray(item['inputs'].permute(1, 2, 0).numpy())
        top, left, height, width = box
        corners = (left, top), (left + width - 1, top + height - 1)
        thickness = max(2, image.shape[0] // 100)
        cv2.rectangle(image, *corners, YELLOW, thickness)
        axes[0][column].imshow(image[..., ::-1])
        axes[0][column].set_title(TITLES[column], fontsize=9)
    colours = np.zeros((256, 3))
    colours[: len(network.palette)] = np.array(network.palette) / 255
    for line, (name, (points, places)) in zip(axes[1:], rows.items(), strict=True):
        low, high = places.min((0, 1)), places.max((0, 1))
        margin = 0.05 * (high - low) + 1e-6
        for panel, dots in zip(line, places, strict=True):
            panel.scatter(*dots.T, s=4, c=colours[points.label])
            panel.set_xlim(low[0] - margin[0], high[0] + margin[0])
            panel.set_ylim(low[1] - margin[1], high[1] + margin[1])
        line[0].set_ylabel(name)
    for panel in axes.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    _legend(figure, rows, colours, network.classes)
    save_plot(figure, path)


def _legend(figure, rows: dict, colours: np.ndarray, classes: list[str]) -> None:
    from matplotlib.lines import Line2D

    shown = sorted({int(i) for points, _ in rows.values() for i in points.label})
    style = dict(linestyle='', marker='o', markersize=4)
    handles = [
        Line2D([], [], color=colours[i], label=classes[i], **style) for i in shown
    ]
    figure.legend(handles=handles, loc='outside lower center', ncol=6, fontsize=8)


def main(argv=None) -> int:
    args = parse_args(argv)
    tsne()  # missing? then before the work
    networks = load_networks(args.networks, args.device)
    inputs = make_inputs(args, networks[0])
    rows, cells = {}, []
    for network in networks:
        points = overlap_points(
            network, inputs, args.feature, args.embedding, args.stride
        )
        if len(points.label) < 2:
            raise ValueError('the overlap has fewer than two labeled places')
        context, colours = similarity(points)
        number = str(len(points.label))
        cells.append([network.name, number, f'{context:.3f}', f'{colours:.3f}'])
        points = thin_out(points, args.points, args.seed)
        rows[network.name] = points, lay_out_places(points, args.perplexity, args.seed)
    print(markdown(['mean cosine', 'places', 'I and II', 'I and III'], cells))
    draw_figure(inputs, rows, networks[0], args.out)
    print(f'picture: {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
