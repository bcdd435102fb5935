"""t-SNE of the features of many images, of one network or several.

--show classes: features of images, coloured by class; of the test data, or --images.
--show streams: features of labeled against those of unlabeled images, both drawn from
the streams of the first config that has both.
--show parts: as classes, with the object parts of each class in shades of its colour,
from full to pale. The parts are those of the teacher of ESL, of a network without them
those of the first network that has any.
--show bank: features of images and the vectors in the bank of the network's pair, both
in the space in which the method compares them, coloured by class.

Features are those of --feature (pre_cls, stage4, an index), with --embedding after a
method's projector; the bank decides itself. They are seen in the cells of their map,
whose class is that of most of its pixels in the mask, without masks the predicted one,
and have unit length. Of all cells --points are drawn: of classes, or parts, evenly, of
streams as many of each. --classes leaves all others out.

t-SNE keeps neighbours and no distances. Printed are, without t-SNE, the mean cosine of
points with the same and with another class (stream; part of the class), the share of a
point's nearest neighbours that have its own, and what that share would be by chance.
Points of one image are not compared with each other; with a bank, cells are compared
with vectors.

t-SNE needs scikit-learn (pip install -e ".[viz]").

examples:
  python tools/analysis_tools/embed_features.py \\
      SupOnly=work_dirs/sup/config.py:work_dirs/sup/iter_9.pth \\
      CTT=work_dirs/ctt/config.py:work_dirs/ctt/iter_9.pth:student0 --out classes.png
  python tools/analysis_tools/embed_features.py --show bank \\
      CTT=work_dirs/ctt/config.py:work_dirs/ctt/iter_9.pth:student1 --out bank.png
  python tools/analysis_tools/embed_features.py --show parts \\
      ESL=work_dirs/esl/config.py:work_dirs/esl/iter_9.pth --classes road car tree
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.evaluation import cell_labels
from mmsemiseg.functional import rank_in_group, resize_logits
from mmsemiseg.functional.pseudo_label import IGNORE_INDEX
from mmsemiseg.models.heads import unit_length
from mmsemiseg.models.memories import ClassQueueBank, StepQueue
from mmsemiseg.utils.command import exit_with
from mmsemiseg.visualization.arguments import (
    add_image_arguments,
    add_network_arguments,
    feature_name,
)
from mmsemiseg.visualization.cell_parts import has_parts, part_colours, parts_at
from mmsemiseg.visualization.data_sets import (
    dataset_infos,
    evaluation_sets,
    lazy_datasets,
)
from mmsemiseg.visualization.embedding import lay_out, tsne
from mmsemiseg.visualization.images import draw, find_infos, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.plots import new_plot, save_plot
from mmsemiseg.visualization.tables import markdown

SHOW = ('classes', 'streams', 'parts', 'bank')
STREAMS = ('labeled', 'unlabeled')
STREAM_COLOURS = np.array([[1.0, 0.5, 0.05], [0.12, 0.47, 0.71]])  # orange, blue
NEIGHBOURS = 10


class Points(NamedTuple):
    """n features; a bank's vectors are of image -1."""

    features: Tensor  # (n, D) of unit length
    group: Tensor  # (n,) class, c * K + k of a part, or place in STREAMS
    image: Tensor  # (n,)


class Affinity(NamedTuple):
    """How near the points of one group are to each other; NaN without pairs."""

    same: float  # mean cosine of pairs of one group
    other: float  # of two groups, parts of one class
    nearest: float  # share of one group among the nearest neighbours
    chance: float  # among all pairs


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    parser.add_argument('--show', choices=SHOW, default='classes', help='[classes]')
    add_image_arguments(parser, "the first config's test data")
    parser.set_defaults(count=32)
    parser.add_argument(
        '--feature', type=feature_name, help='pre_cls, stage4, ... [pre_cls]'
    )
    parser.add_argument('--embedding', action='store_true', help="a method's projector")
    parser.add_argument(
        '--classes', nargs='+', metavar='NAME', help='classes that are shown [all]'
    )
    parser.add_argument('--points', type=int, default=1000, help='at most [1000]')
    parser.add_argument('--perplexity', type=float, default=30, help='of t-SNE [30]')
    parser.add_argument(
        '--out', type=Path, default='work_dirs/embed_features.png', metavar='FILE'
    )
    return parser.parse_args(argv)


def check_arguments(args: argparse.Namespace) -> None:
    if args.points < 2:
        raise ValueError(f'--points must be at least 2, but got {args.points}')
    if args.show == 'bank' and (args.feature is not None or args.embedding):
        raise ValueError(
            '--show bank has the features that the method compares with the bank: '
            'leave out --feature and --embedding'
        )
    if args.show == 'streams' and args.images is not None:
        raise ValueError(
            "--show streams has the images of a config's streams: leave out --images"
        )
    if args.show == 'streams' and args.classes is not None:
        raise ValueError('--show streams has no classes: leave out --classes')


def shown_classes(args: argparse.Namespace, network: Network) -> Tensor:
    """Numbers of the classes that are shown."""
    names = network.classes
    unknown = [name for name in args.classes or () if name not in names]
    if unknown:
        raise ValueError(f'--classes: {unknown} are not among {names}')
    kept = names if args.classes is None else args.classes
    return torch.tensor([names.index(name) for name in kept])


def first_with_parts(
    args: argparse.Namespace, networks: list[Network]
) -> Network | None:
    """The first network that tells the parts of classes; None if none are shown."""
    if args.show != 'parts':
        return None
    found = [network for network in networks if has_parts(network)]
    numbers = {network.model.contrast.num_parts for network in found}
    if len(numbers) != 1:
        raise ValueError(
            '--show parts needs a run of ESL with its contrast, and of several the '
            f'same num_parts, but got {sorted(numbers)}'
        )
    return found[0]


# Images


def image_infos(args: argparse.Namespace, networks: list[Network]) -> list[list[dict]]:
    """The images of each group that is drawn alike: one list, or one a stream."""
    if args.show == 'streams':
        datasets = stream_datasets(networks)
        return [draw(dataset_infos(d), args.count, args.seed) for d in datasets]
    if args.images is None:
        infos = dataset_infos(evaluation_sets(networks[0].cfg))
    else:
        infos = find_infos(args, networks[0].data)
    return [draw(infos, args.count, args.seed)]


def stream_datasets(networks: list[Network]) -> list[list]:
    for network in networks:
        streams = network.cfg.get('train_dataloader') or {}
        if all(name in streams for name in STREAMS):
            return [lazy_datasets(streams[name].dataset) for name in STREAMS]
    raise ValueError(
        '--show streams needs a config whose train_dataloader has the streams '
        f'{STREAMS}: name a semi-supervised network'
    )


# Features


def space_of(args: argparse.Namespace, network: Network):
    """Image batch (1, 3, H, W) -> logits and features (1, D, h, w) of unit length."""
    if args.show == 'bank':
        bank_of(network)  # missing? then before the work
        adapter, project = network.model.adapter, network.projector
    else:
        adapter = network.adapter('pre_cls' if args.feature is None else args.feature)
        project = network.projector if args.embedding else None
        if args.embedding and project is None:
            raise ValueError(
                f'--embedding: {network.name} is a {type(network.model).__name__} '
                'without a projector'
            )
    segmentor = network.segmentor

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        logits, features = adapter(segmentor, images)
        if isinstance(features, tuple):  # of embeddings, and of object parts
            features = features[0]
        features = (project or unit_length)(features.float())
        return logits.float(), unit_length(features)

    return look


@torch.no_grad()
def image_points(
    args: argparse.Namespace,
    network: Network,
    groups: list[list[dict]],
    parts: Network | None = None,
) -> Points:
    """Cells of all images, those that are drawn.

    Args:
        parts: Network that tells the parts of the classes; None: they have none.
    """
    look, rng = space_of(args, network), np.random.default_rng(args.seed)
    classes = shown_classes(args, network)
    found, number = [], 0
    for stream, infos in enumerate(groups):
        for info in infos:
            features, label = look_at(network, look, info, args.show != 'streams')
            if args.show == 'streams':
                known = label >= 0
                label = torch.full_like(label, stream)
            else:
                label = label.where(torch.isin(label, classes), -1)
                if parts is not None:
                    label = parts_at(parts, network, info, label)
                known = label >= 0
            label = label.flatten()
            known = known.flatten().nonzero().flatten()
            rows = known[draw_evenly(label[known], args.points, rng)]
            image = torch.full((len(rows),), number)
            found.append(Points(features[rows].cpu(), label[rows], image))
            number += 1
    points = Points(*map(torch.cat, zip(*found, strict=True)))
    chosen = draw_evenly(points.group, args.points, rng)
    return Points(*(part[chosen] for part in points))


def look_at(network: Network, look, info: dict, labels: bool) -> tuple[Tensor, Tensor]:
    """Features (h * w, D) of an image, and class (h, w) of each cell, -1: not known.

    Without ``labels`` that is 0 but on padding.
    """
    item = network.load(info)
    height, width = item['inputs'].shape[1:]
    images = network.prepare(item)['inputs']
    logits, features = look(images)
    size = tuple(features.shape[2:])
    truth = read_image(network, info)[1] if labels else None
    seen = np.zeros((height, width), np.uint8)
    if truth is not None:
        seen = cv2.resize(
            truth.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
        )
    padding = (0, images.shape[3] - width, 0, images.shape[2] - height)
    seen = F.pad(torch.from_numpy(seen), padding, value=IGNORE_INDEX)
    label = cell_labels(seen[None], size, len(network.classes))[0].long()
    known = label != IGNORE_INDEX
    if labels and truth is None:
        label = resize_logits(logits, size).argmax(1)[0].cpu()
    return features[0].flatten(1).T, label.where(known, -1)


def draw_evenly(group: Tensor, number: int, rng: np.random.Generator) -> Tensor:
    """Places of ``number`` rows, as many of each group as it has; in their order."""
    order = torch.from_numpy(rng.permutation(len(group)))
    rank = rank_in_group(group[order])
    return order[rank.argsort(stable=True)[:number]].sort().values


def bank_of(network: Network) -> Points:
    """All vectors in the bank of the network's pair."""
    kinds = (ClassQueueBank, StepQueue)
    banks = [m for m in network.model.modules() if isinstance(m, kinds)]
    if not banks:
        raise ValueError(
            f'--show bank: {network.name} is a {type(network.model).__name__} '
            'without a bank'
        )
    rows, group = banks[network.pair[1] if len(banks) > 1 else 0].keys()
    contrast = getattr(network.model, 'contrast', None)
    parts = getattr(contrast, 'num_parts', 1)  # queues of a class
    group = torch.div(group, parts, rounding_mode='floor')
    kept = (group >= 0) & (group < len(network.classes))
    if not kept.any():
        raise ValueError(f'--show bank: the bank of {network.name} is empty')
    rows, group = unit_length(rows[kept]).cpu(), group[kept].cpu()
    return Points(rows, group, torch.full_like(group, -1))


def with_bank(points: Points, bank: Points, number: int, seed: int) -> Points:
    """``number`` at most, half of them the bank's."""
    rng = np.random.default_rng(seed)
    halves = []
    for one in (points, bank):
        chosen = draw_evenly(one.group, number // 2, rng)
        halves.append([part[chosen] for part in one])
    return Points(*map(torch.cat, zip(*halves, strict=True)))


def affinity(points: Points, neighbours: int = NEIGHBOURS, parts: int = 1) -> Affinity:
    """Affinity of points of different images, or of cells and vectors of a bank.

    Args:
        parts: Number of parts of a class, if the groups are parts.
    """
    stored = points.image < 0
    keys = stored if stored.any() else ~stored
    ours, theirs = ([part[kept] for part in points] for kept in (~stored, keys))
    cosine = ours[0] @ theirs[0].T
    same = ours[1][:, None] == theirs[1]
    kin = ours[1][:, None] // parts == theirs[1] // parts
    other = ~same & (kin | (parts == 1))
    apart = ours[2][:, None] != theirs[2]
    number = min(neighbours, cosine.shape[1])
    near = cosine.masked_fill(~apart, -2).topk(number).indices
    counted = apart.gather(1, near)
    values = (
        cosine[same & apart],
        cosine[other & apart],
        same.gather(1, near)[counted],
        same[apart],
    )
    return Affinity(*(float(value.float().mean()) for value in values))


# Picture


def draw_figure(
    args: argparse.Namespace, found: dict[str, tuple], network: Network, parts: int = 1
) -> None:
    """A scatter plot for each network."""
    streams = args.show == 'streams'
    colours = STREAM_COLOURS if streams else np.array(network.palette) / 255
    names = STREAMS if streams else network.classes
    colours = part_colours(colours, parts)
    figure, axes = new_plot(len(found), size=(3.6, 3.6))
    for panel, (name, (points, places)) in zip(
        np.atleast_1d(axes), found.items(), strict=True
    ):
        order = np.random.default_rng(args.seed).permutation(len(places))
        stored = points.image.numpy()[order] < 0
        for kept, style in (
            (~stored, dict(s=5, linewidths=0)),
            (stored, dict(s=30, marker='*', edgecolors='black', linewidths=0.4)),
        ):
            rows = order[kept]
            if len(rows):
                panel.scatter(
                    *places[rows].T, c=colours[points.group.numpy()[rows]], **style
                )
        panel.set_title(name, fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    _legend(figure, found, colours, names, parts)
    save_plot(figure, args.out)


def _legend(
    figure, found: dict, colours: np.ndarray, names: list[str], parts: int
) -> None:
    from matplotlib.lines import Line2D

    groups = {int(i) // parts for points, _ in found.values() for i in points.group}
    dot = dict(marker='o', markersize=4)
    dots = [(names[i], dot | dict(color=colours[i * parts])) for i in sorted(groups)]
    if parts > 1:
        grey = part_colours(np.zeros((1, 3)), parts)
        dots += [(f'part {k}', dot | dict(color=grey[k])) for k in range(parts)]
    if any((points.image < 0).any() for points, _ in found.values()):
        star = dict(color='white', markeredgecolor='black', marker='*', markersize=8)
        dots.append(('vector of the bank', star))
    handles = [Line2D([], [], linestyle='', label=text, **dot) for text, dot in dots]
    for columns in range(min(len(handles), 3 * len(found)), 0, -1):
        legend = figure.legend(
            handles=handles, loc='outside lower center', ncol=columns, fontsize=7
        )
        if columns == 1 or legend.get_window_extent().width <= figure.bbox.width:
            break
        legend.remove()  # long names: fewer columns


def main(argv=None) -> int:
    args = parse_args(argv)
    check_arguments(args)
    tsne()  # missing? then before the work
    networks = load_networks(args.networks, args.device)
    first = first_with_parts(args, networks)
    parts = 1 if first is None else first.model.contrast.num_parts
    shown_classes(args, networks[0])  # wrong? then before the work
    groups = image_infos(args, networks)
    found, rows = {}, []
    for network in networks:
        own = first is not None and has_parts(network)
        points = image_points(args, network, groups, network if own else first)
        if args.show == 'bank':
            bank = bank_of(network)
            kept = torch.isin(bank.group, shown_classes(args, network))
            bank = Points(*(part[kept] for part in bank))
            points = with_bank(points, bank, args.points, args.seed)
        near = affinity(points, parts=parts)
        cells = [f'{near.same:.3f}', f'{near.other:.3f}']
        cells += [f'{100 * near.nearest:.1f}', f'{100 * near.chance:.1f}']
        rows.append([network.name, str(len(points.group)), *cells])
        places = lay_out(points.features, args.perplexity, args.seed)
        found[network.name] = points, places
    kind = dict(streams='stream', parts='part').get(args.show, 'class')
    head = [f'cosine, same {kind}', f'another {kind}']
    if parts > 1:
        head[1] += ' of the class'
    head += [f'nearest of same {kind} %', 'by chance %']
    print(markdown(['', 'points', *head], rows))
    draw_figure(args, found, networks[0], parts)
    print(f'picture: {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
