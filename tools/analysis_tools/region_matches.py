"""Segments of a teacher and the queries of its student that they are matched with.

For a checkpoint of RC2L. One picture an image: the image, the teacher's segments, the
student's prediction, and a column for each segment with the mask of its query, in which
the segment is outlined. Titles and table have the class of the segment, the query, and
the Dice overlap of both. Teacher and student see the same picture here, prepared by the
test pipeline. The images are drawn at random, not chosen.

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
from mmsemiseg.functional import Regions, mask_similarity, score_logits, semantic_scores
from mmsemiseg.models.adapter import resize_logits
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.overlay import overlay, titled_row
from mmsemiseg.visualization.arguments import add_image_arguments, add_network_arguments
from mmsemiseg.visualization.data_sets import dataset_infos, evaluation_sets
from mmsemiseg.visualization.images import draw, find_infos, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.pictures import legend, write_picture
from mmsemiseg.visualization.tables import markdown


class Match(NamedTuple):
    """A segment of the teacher and the query of the student that it has."""

    label: int  # class of the segment
    query: int  # -1: none was left
    query_label: int  # most probable class of the query; C: no object
    dice: float
    segment: np.ndarray  # (H, W) bool
    mask: np.ndarray  # (H, W) float, 0 to 1


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

    teacher, student = (
        model.adapter.queries(net, inputs) for net in (model.teacher, model.student)
    )
    valid = torch.ones_like(inputs[:, 0], dtype=torch.bool)
    found = model.segments(teacher.class_logits[-1], teacher.mask_logits[-1], valid)
    segments, counts = model.segments.cut(found)
    queries = student.class_logits[-1], student.mask_logits[-1]
    query = model.region_losses.matcher(*queries, segments, counts)
    regions = Regions(*queries, segments, query, counts)
    dice = mask_similarity(regions.matched_masks, regions.targets)[0].diagonal()
    size = segments.masks.shape[2:]
    masks = to_image(regions.matched_masks.unflatten(2, size)).numpy()
    outlines = to_image(segments.masks).numpy() > 0.5
    classes = queries[0][0].argmax(-1).tolist()
    matches = [
        Match(label, q, classes[q] if q >= 0 else -1, d, outline, mask)
        for label, q, d, outline, mask in zip(
            segments.label[0].tolist(),
            query[0].tolist(),
            dice.tolist(),
            outlines,
            masks,
            strict=True,
        )
    ]
    matches.sort(key=lambda one: -one.segment.sum())
    labels = []
    for out in (teacher, student):
        scores = semantic_scores(out.class_logits[-1], out.mask_logits[-1])
        labels.append(to_image(score_logits(scores)).argmax(0).numpy())
    return *labels, matches


def paint(image: np.ndarray, match: Match) -> np.ndarray:
    """The mask as heat over the image, the segment as a white outline."""
    heat = cv2.applyColorMap((255 * match.mask).astype(np.uint8), cv2.COLORMAP_JET)
    picture = cv2.addWeighted(image, 0.4, heat, 0.6, 0)
    how = (cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outlines, _ = cv2.findContours(match.segment.astype(np.uint8), *how)
    return cv2.drawContours(picture, outlines, -1, (255, 255, 255), 1)


def main(argv=None) -> int:
    args = parse_args(argv)
    (network,) = _one(load_networks(args.networks, args.device))
    classes, palette = [*network.classes, 'no object'], network.palette
    if args.images is None:
        infos = dataset_infos(evaluation_sets(network.cfg))
    else:
        infos = find_infos(args, network.data)
    rows = []
    for number, info in enumerate(draw(infos, args.count, args.seed)):
        image, _ = read_image(network, info)
        *labels, matches = find_matches(network, info)
        names = ('teacher', 'student')
        columns = dict(image=image) | {
            name: overlay(image, label, palette)
            for name, label in zip(names, labels, strict=True)
        }
        name = f'{number:02d}_{Path(info["img_path"]).stem}.png'
        for match in matches[: args.most]:
            title = f'{classes[match.label]} q{match.query} {match.dice:.2f}'
            columns[title] = paint(image, match)
        for match in matches:
            cells = [name, classes[match.label], f'{100 * match.segment.mean():.1f}']
            own = classes[match.query_label] if match.query >= 0 else ''
            rows.append([*cells, str(match.query), own, f'{match.dice:.3f}'])
        row = titled_row(columns, args.height)
        below = legend(labels, network.classes, palette, row.shape[1])
        write_picture(args.out / name, np.vstack([row, below]))
    head = ['picture', 'segment', 'area %', 'query', 'its class', 'Dice']
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
