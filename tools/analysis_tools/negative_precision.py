"""How many of the negatives of CAC are true, on images whose masks were hidden.

Crops are made as in training (OverlapCrops of the first config, the same crops for
every checkpoint), the networks are in eval mode. Anchors are the cells of the overlap
that the loss selects; their negatives are all cells of both crops of a batch of images
and of the bank's batches before it. A negative is true where its true class, that of
most of its pixels, differs from the anchor's:

- random: share of true ones among all negatives;
- filtered: the same among those with another pseudo label than the anchor's;
- recall: share of the true negatives that the filter keeps.

CHECKPOINT may be a folder: then each of its iter_*.pth is a point of a curve. A config
without CAC works too, also one of a plain segmentor, where another network's config
comes first; its cells are selected by --threshold 0.75 and by direction.

The masks come from --images and --masks, from `audit_dataset` of the first config, or
from its PseudoLabelAuditHook.

examples:
  python tools/analysis_tools/negative_precision.py \\
      CAC=work_dirs/cac/config.py:work_dirs/cac --plot negatives.png \\
      --images data/camvid/images/train --masks data/camvid/labels/train
"""

import argparse
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmseg.registry import TRANSFORMS
from torch import Tensor

from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.datasets.transforms import CheckLabels, OverlapCrops, RecordValidity
from mmsemiseg.datasets.transforms.strict_compose import StrictCompose
from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.evaluation import (
    NegativePairs,
    cell_labels,
    label_table,
    negative_pairs,
)
from mmsemiseg.functional import pseudo_label
from mmsemiseg.functional.pseudo_label import IGNORE_INDEX
from mmsemiseg.models.contrast.cells import whole_cells
from mmsemiseg.models.contrast.overlap import match_crops
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.config_parts import leaf_configs
from mmsemiseg.visualization.arguments import add_image_arguments, add_network_arguments
from mmsemiseg.visualization.data_sets import (
    dataset_infos,
    evaluation_sets,
    lazy_datasets,
)
from mmsemiseg.visualization.images import cut_truth, draw, find_infos
from mmsemiseg.visualization.networks import (
    Network,
    Source,
    checkpoints_of,
    load_network,
)
from mmsemiseg.visualization.plots import new_plot, save_plot
from mmsemiseg.visualization.tables import markdown


class Sample(NamedTuple):
    """Two overlapping crops of one image."""

    views: list[dict]
    truths: list[Tensor]  # (h, w) of each crop


class Point(NamedTuple):
    name: str
    iteration: int
    anchors: int
    pairs: NegativePairs


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    add_image_arguments(parser, 'the audit data of the first config')
    parser.set_defaults(count=64)
    parser.add_argument(
        '--batch-size', type=int, help="images of a batch [the unlabeled stream's]"
    )
    parser.add_argument(
        '--threshold', type=float, help="gamma of the anchors [the config's, or 0.75]"
    )
    parser.add_argument('--plot', type=Path, help='picture of the curves to write')
    return parser.parse_args(argv)


# Crops with truth


def crops_of(cfg: Config) -> StrictCompose:
    """The unlabeled pipeline, each sample with the place of its pixels."""
    streams = cfg.get('train_dataloader') or {}
    stream = streams.get('unlabeled') or {}
    for dataset in leaf_configs(stream.get('dataset') or {}):
        transforms = [TRANSFORMS.build(dict(t)) for t in dataset.get('pipeline', ())]
        if transforms and isinstance(transforms[-1], OverlapCrops):
            crops = transforms[-1]
            crops.shared.transforms[0] = RecordValidity(record_geometry=True)
            return StrictCompose(transforms)
    raise ValueError(
        'the first config must have OverlapCrops in the pipeline of its unlabeled '
        'stream: begin with a network of CAC'
    )


def hidden_infos(args: argparse.Namespace, cfg: Config) -> tuple[list[dict], list]:
    """Data infos with masks, and the transforms that read a mask."""
    if args.images is not None:
        if args.masks is None:
            raise ValueError('--images needs --masks, the hidden truth')
        like = evaluation_sets(cfg)[0]
        return find_infos(args, like), mask_transforms(like)
    hidden = cfg.get('audit_dataset')
    for hook in cfg.get('custom_hooks') or ():
        if hidden is None and 'dataset' in (hook.get('dataloader') or {}):
            hidden = hook['dataloader']['dataset']
    if hidden is None:
        raise ValueError(
            'the truth is missing: give --images and --masks, or let the config have '
            'audit_dataset=dict(type=...) or a PseudoLabelAuditHook'
        )
    datasets = lazy_datasets(hidden)
    return dataset_infos(datasets), mask_transforms(datasets[0])


def mask_transforms(dataset) -> list:
    found = [
        t for t in dataset.pipeline.transforms if isinstance(t, LoadAnnotations)
    ] or [TRANSFORMS.build(dict(type='LoadAnnotations'))]
    return [*found, CheckLabels(len(dataset.metainfo['classes']))]


def make_samples(
    infos: list[dict], crops: StrictCompose, read_mask: list, seed: int
) -> list[Sample]:
    names = crops.transforms[-1].views
    samples = []
    for number, info in enumerate(infos):
        if not info.get('seg_map_path'):
            raise ValueError(f'{info["img_path"]} has no mask: the truth is missing')
        with sample_rng(seed + number):
            views = crops(dict(img_path=info['img_path']))
        mask = StrictCompose(read_mask)(dict(info, seg_fields=[]))['gt_seg_map']
        views = [views[name] for name in names]
        truths = [cut_truth(mask, view['data_samples']) for view in views]
        for view in views:
            del view['data_samples'].coords  # not needed any more, and large
        samples.append(Sample(views, truths))
    return samples


# Counts


class Cells(NamedTuple):
    """What is known of the h * w cells of a view of N images, (N, h * w) each."""

    confidence: Tensor
    label: Tensor  # 255 on padding
    truth: Tensor  # 255 where not known


def count_pairs(
    network: Network, samples: list[Sample], size: int, stride: int, threshold
) -> tuple[int, NegativePairs]:
    """Number of anchors, and the pairs of all batches of ``size`` images."""
    contrast = getattr(network.model, 'contrast', None)
    loss = getattr(contrast, 'directional', None)
    direction = getattr(loss, 'direction', True)
    if threshold is None:
        threshold = getattr(loss, 'threshold', 0.75)
    classes = len(network.classes)
    keys = deque(maxlen=1 + getattr(getattr(contrast, 'bank', None), 'steps', 0))
    number, total = 0, np.zeros(4, np.int64)
    for start in range(0, len(samples), size):
        views, matches = look(network, samples[start : start + size], stride)
        tables = (label_table(view.label, view.truth, classes) for view in views)
        keys.append(sum(tables))
        anchors = 0
        for mine, theirs, match in zip(views, views[::-1], matches, strict=True):
            chosen = selected(mine, theirs, *match, direction, threshold)
            anchors += label_table(mine.label[chosen], mine.truth[chosen], classes)
        number += int(anchors.sum())
        total += negative_pairs(anchors, sum(keys))
    return number, NegativePairs(*total.tolist())


@torch.no_grad()
def look(network: Network, samples: list[Sample], stride: int):
    """The :class:`Cells` of both views, and which cell of the other each one is."""
    adapter, classes = network.adapter(None), len(network.classes)
    batches, views = [], []
    for view in (0, 1):
        batch = network.batch([sample.views[view] for sample in samples])
        size = tuple(length // stride for length in batch.inputs.shape[2:])
        logits = adapter(network.segmentor, batch.inputs).logits.float()
        logits = F.adaptive_avg_pool2d(logits, size)
        pseudo = pseudo_label(logits, whole_cells(batch.valid, size))
        truth = torch.stack([sample.truths[view] for sample in samples])
        truth = cell_labels(truth, size, classes).to(pseudo.label.device)
        cells = (pseudo.confidence, pseudo.label, truth)
        views.append(Cells(*(values.flatten(1) for values in cells)))
        batches.append(batch)
    return views, match_crops(*batches, size)


def selected(
    mine: Cells, theirs: Cells, index: Tensor, found: Tensor, direction: bool, threshold
) -> Tensor:
    """(N, h * w) bool: the cells of one side of the overlap that the loss selects."""
    other = theirs.confidence.gather(1, index)
    chosen = found & (mine.label != IGNORE_INDEX)
    chosen &= theirs.label.gather(1, index) != IGNORE_INDEX
    if direction:
        chosen &= mine.confidence < other
    if threshold is not None:
        chosen &= other > threshold
    return chosen


# Output


def table(points: list[Point]) -> str:
    rows = [
        [
            point.name,
            str(point.iteration),
            str(point.anchors),
            f'{100 * point.pairs.random_precision:.1f}',
            f'{100 * point.pairs.filtered_precision:.1f}',
            f'{100 * point.pairs.recall:.1f}',
        ]
        for point in points
    ]
    head = ['', 'iteration', 'anchors', 'random %', 'filtered %', 'recall %']
    return markdown(head, rows)


def plot(points: list[Point], path: Path) -> None:
    figure, axes = new_plot()
    for number, name in enumerate(dict.fromkeys(point.name for point in points)):
        own = [point for point in points if point.name == name]
        steps = [point.iteration for point in own]
        random = [100 * point.pairs.random_precision for point in own]
        filtered = [100 * point.pairs.filtered_precision for point in own]
        style = dict(color=f'C{number}', marker='o', markersize=3)
        axes.plot(steps, filtered, **style, label=f'{name}, filtered')
        axes.plot(steps, random, **style, linestyle='--', label=f'{name}, random')
    axes.set(xlabel='iteration', ylabel='true negatives in %')
    axes.grid(alpha=0.3)
    axes.legend()
    save_plot(figure, path)


def main(argv=None) -> int:
    args = parse_args(argv)
    if args.batch_size is not None and args.batch_size < 1:
        raise ValueError(f'--batch-size must be at least 1, but got {args.batch_size}')
    sources = [Source(text) for text in args.networks]
    first = sources[0].read_config()
    crops = crops_of(first)
    infos, read_mask = hidden_infos(args, first)
    infos = draw(infos, args.count, args.seed)
    samples = make_samples(infos, crops, read_mask, args.seed)
    size = args.batch_size or first.train_dataloader.unlabeled.batch_size
    stride = crops.transforms[-1].stride
    points = []
    for source in sources:
        for path in checkpoints_of(source):
            network = load_network(source, args.device, path)
            counts = count_pairs(network, samples, size, stride, args.threshold)
            points.append(Point(source.name, network.iteration or 0, *counts))
    print(f'{len(samples)} images, batches of {size}, eval mode\n')
    print(table(points))
    if args.plot is not None:
        plot(points, args.plot)
        print(f'curves: {args.plot}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
