"""Segments of a teacher, and the queries of teacher and student that fit them.

For a checkpoint of RC2L. One picture an image. On the left the image and the labels of
teacher and student. Then a column for each segment, above the mask of the teacher's
query, below that of the student's, with the segment outlined in both. The student's
query is the one that the segment is matched with in training; the teacher's is found by
the same matching. Titles and table have the class of the segment, the queries, and the
Dice overlap of segment and mask. Teacher and student see the same picture here,
prepared by the test pipeline. The images are drawn at random, not chosen.

examples:
  python tools/analysis_tools/region_matches.py \\
      RC2L=work_dirs/rc2l/config.py:work_dirs/rc2l/iter_9.pth --count 4 --out regions
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.functional import Regions, Segments, mask_similarity, resize_logits
from mmsemiseg.models.mask_heads import QueryOutput
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.overlay import overlay, titled_row
from mmsemiseg.visualization.arguments import add_image_arguments, add_network_arguments
from mmsemiseg.visualization.data_sets import dataset_infos, evaluation_sets
from mmsemiseg.visualization.images import draw, find_infos, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.pictures import legend, write_picture
from mmsemiseg.visualization.tables import markdown

NETWORKS = ('teacher', 'student')


class Query(NamedTuple):
    """The query of a network that a segment is matched with."""

    number: int  # -1: none was left
    label: int  # most probable class; C: no object; -1 without a query
    dice: float  # overlap of its mask and the segment
    mask: np.ndarray  # (H, W) float, 0 to 1


class Match(NamedTuple):
    """A segment of the teacher and the queries that it has."""

    label: int  # class of the segment
    segment: np.ndarray  # (H, W) bool
    teacher: Query
    student: Query


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    add_image_arguments(parser, "the config's test data")
    parser.add_argument('--out', type=Path, default='work_dirs/regions', metavar='DIR')
    parser.add_argument('--height', type=int, default=192, help='of a column [192]')
    parser.add_argument('--most', type=int, default=6, help='segments, largest [6]')
    return parser.parse_args(argv)


@torch.no_grad()
def find_matches(network: Network, info: dict) -> tuple[np.ndarray, np.ndarray, list]:
    """Label maps (H, W) of teacher and student, and the matches, largest first."""
    model, item = network.model, network.load(info)
    inputs = network.prepare(item)['inputs']
    sample = item['data_samples']
    inner, shape = tuple(sample.img_shape), tuple(sample.ori_shape)

    def to_image(maps: Tensor) -> Tensor:
        maps = resize_logits(maps.float(), inputs.shape[2:])
        return resize_logits(maps[..., : inner[0], : inner[1]], shape)[0].cpu()

    outputs = [model.adapter.queries(getattr(model, name), inputs) for name in NETWORKS]
    valid = torch.zeros_like(inputs[:, 0], dtype=torch.bool)
    valid[:, : inner[0], : inner[1]] = True  # the preprocessor may have padded
    first = outputs[0]
    found = model.segments(first.class_logits[-1], first.mask_logits[-1], valid)
    segments, counts = model.segments.cut(found)

    def queries_of(output: QueryOutput) -> list[Query]:
        regions = matched(model, output, segments, counts)
        dice = mask_similarity(regions.matched_masks, regions.targets)[0].diagonal()
        masks = regions.matched_masks.unflatten(2, segments.masks.shape[2:])
        label = regions.of_query(regions.class_logits).argmax(-1)
        label = torch.where(regions.matched, label, -1)
        values = (regions.query[0].tolist(), label[0].tolist(), dice.tolist())
        return list(map(Query, *values, to_image(masks).numpy()))

    matches = []
    if segments.label.numel():
        labels = segments.label[0].tolist()
        outlines = to_image(segments.masks).numpy() > 0.5
        matches += map(Match, labels, outlines, *map(queries_of, outputs))
        matches.sort(key=lambda one: -one.segment.sum())
    maps = [to_image(one.pixel_logits()).argmax(0).numpy() for one in outputs]
    return *maps, matches


def matched(model, output: QueryOutput, segments: Segments, valid: Tensor) -> Regions:
    """The queries of a network beside the segments, as RC2L matches them."""
    queries = output.class_logits[-1], output.mask_logits[-1]
    query = model.region_losses.matcher(*queries, segments, valid)
    return Regions(*queries, segments, query, valid)


def paint(image: np.ndarray, mask: np.ndarray, segment: np.ndarray) -> np.ndarray:
    """The mask as heat over the image, the segment as a white outline."""
    heat = cv2.applyColorMap((255 * mask).astype(np.uint8), cv2.COLORMAP_JET)
    picture = cv2.addWeighted(image, 0.4, heat, 0.6, 0)
    how = (cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines, _ = cv2.findContours(segment.astype(np.uint8), *how)
    return cv2.drawContours(picture, outlines, -1, (255, 255, 255), 1)


def picture_of(
    image: np.ndarray, labels: list, matches: list[Match], network: Network, height: int
) -> np.ndarray:
    """A row of the teacher above one of the student."""
    corners = dict(image=image), {'': np.full_like(image, 255)}
    rows = []
    for name, label, columns in zip(NETWORKS, labels, corners, strict=True):
        columns[name] = overlay(image, label, network.palette)
        for number, match in enumerate(matches, 1):
            query = getattr(match, name)
            own = f'q{query.number} {query.dice:.2f}' if query.number >= 0 else 'none'
            title = f'{number} {own} {network.classes[match.label]}'
            columns[title] = paint(image, query.mask, match.segment)
        rows.append(titled_row(columns, height))
    return np.vstack(rows)


def cells_of(match: Match, classes: list[str]) -> list[str]:
    """Cells of the table for a segment."""
    cells = [classes[match.label], f'{100 * match.segment.mean():.1f}']
    for query in (match.teacher, match.student):
        own = classes[query.label] if query.number >= 0 else ''
        cells += [str(query.number), own, f'{query.dice:.3f}']
    return cells


def main(argv=None) -> int:
    args = parse_args(argv)
    (network,) = _one(load_networks(args.networks, args.device))
    classes = [*network.classes, 'no object']
    if args.images is None:
        infos = dataset_infos(evaluation_sets(network.cfg))
    else:
        infos = find_infos(args, network.data)
    rows = []
    for number, info in enumerate(draw(infos, args.count, args.seed)):
        image, _ = read_image(network, info)
        *labels, matches = find_matches(network, info)
        name = f'{number:02d}_{Path(info["img_path"]).stem}.png'
        rows += [[name, *cells_of(match, classes)] for match in matches]
        shown = matches[: args.most]
        picture = picture_of(image, labels, shown, network, args.height)
        below = legend(labels, network.classes, network.palette, picture.shape[1])
        write_picture(args.out / name, np.vstack([picture, below]))
    own = ['query', 'its class', 'Dice']
    head = [
        'picture',
        'segment',
        'area %',
        *(f'{n}: {o}' for n in NETWORKS for o in own),
    ]
    print(markdown(head, rows))
    print(f'pictures: {args.out}')
    return 0


def _one(networks: list[Network]) -> list[Network]:
    model = networks[0].model
    if len(networks) != 1 or not hasattr(model, 'region_losses'):
        raise ValueError(
            'regions are those of one checkpoint of RC2L, but got '
            f'{[f"{n.name} ({type(n.model).__name__})" for n in networks]}'
        )
    return networks


if __name__ == '__main__':
    exit_with(main, CheckpointError)
