"""Anchors of ESL's contrast, with a positive and negatives from parts of images."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..functional import at_cells
from ..models.contrast import PartView
from ..models.contrast.part_features import image_means, part_map
from ..models.heads import unit_length
from .networks import Network

GREEN, RED, YELLOW = (0, 200, 0), (0, 0, 220), (0, 255, 255)  # BGR


class PartImage(NamedTuple):
    """Object parts of an image.

    Args:
        part: Part c * K + k (h, w) of each cell, -1 where it has none.
        sure: Mask (h, w) of the cells that may be anchors.
        anchors: The student's embeddings (h, w, D), of unit length.
        means: Part -> mean of the teacher's embeddings (D,), of unit length.
        places: Part -> cell (y, x) whose embedding is nearest to that mean.
        shown: Share (height, width) of the grid of cells that the image fills; the rest
            is padding.
    """

    part: Tensor
    sure: Tensor
    anchors: Tensor
    means: dict[int, Tensor]
    places: dict[int, tuple[int, int]]
    shown: tuple[float, float]


class Pair(NamedTuple):
    """An anchor, the image and part of its positive, and those of its negatives."""

    place: tuple[int, int]
    part: int
    positive: tuple[int, int]
    negatives: list[tuple[int, int]]


@torch.no_grad()
def see_parts(network: Network, info: dict) -> PartImage:
    """What teacher and student of ESL make of an image as the test pipeline has it."""
    model, item = network.model, network.load(info)
    inputs = network.prepare(item)['inputs']
    height, width = item['data_samples'].img_shape[:2]
    contrast = model.contrast
    output = model.adapter(model.teacher, inputs)
    valid = torch.zeros_like(inputs[:, 0], dtype=torch.bool)
    valid[:, :height, :width] = True
    pseudo = model.pseudo_label(model.upsampled(output.logits, inputs), valid)
    view = PartView.of_pseudo(model, output.features, pseudo)
    embedding = contrast.embed(view.features[0], 'teacher')
    size = tuple(embedding.shape[2:])
    part = part_map(view, contrast.prototypes, size, model.align_corners)
    means, group = image_means(embedding, part, contrast.bank.groups)
    feature = model.adapter.features(model.student, inputs, only=0)
    anchors = unit_length(contrast.embed(feature, 'student'))[0].movedim(0, 2)
    sure = at_cells(pseudo.confidence, size) > contrast.threshold
    cells = unit_length(embedding)[0].movedim(0, 2)
    places = {}
    for k in group[group >= 0].tolist():
        near = (cells @ means[k]).masked_fill(part[0] != k, -2)
        places[k] = divmod(int(near.argmax()), size[1])
    shown = height / inputs.shape[2], width / inputs.shape[3]
    known = {k: means[k].cpu() for k in places}
    maps = part[0].cpu(), (sure & (part >= 0))[0].cpu(), anchors.cpu()
    return PartImage(*maps, known, places, shown)


def draw_pairs(
    images: list[PartImage],
    index: int,
    count: int,
    negatives: int,
    rng: np.random.Generator,
) -> list[Pair]:
    """Anchors in image ``index``, their positives and negatives of other images.

    Drawn as in training, but from the parts of these images and not from queues. An
    anchor whose part no other image has is left out.
    """
    image, pairs = images[index], []
    cells = image.sure.nonzero().tolist()
    others = [(i, k) for i, one in enumerate(images) if i != index for k in one.means]
    for number in rng.permutation(len(cells)):
        place = tuple(cells[number])
        part = int(image.part[place])
        same = [one for one in others if one[1] == part]
        apart = [one for one in others if one[1] != part]
        if same and apart and len(pairs) < count:
            chosen = rng.permutation(len(apart))[:negatives]
            positive = same[rng.integers(len(same))]
            pairs.append(Pair(place, part, positive, [apart[i] for i in chosen]))
    return pairs


def similarities(images: list[PartImage], index: int, pair: Pair) -> list[float]:
    """Cosine of an anchor with its positive, then with each negative."""
    anchor = images[index].anchors[pair.place]
    keys = [pair.positive, *pair.negatives]
    return [float(anchor @ images[i].means[k]) for i, k in keys]


def paint_pairs(
    pictures: list[np.ndarray], images: list[PartImage], index: int, pairs: list[Pair]
) -> np.ndarray:
    """The pictures in a row, with arrows from anchors to positives and negatives.

    The picture of the anchors is in the middle. Anchors are yellow circles, arrows to
    positives green, and those to negatives red. All pictures have one height.
    """
    order = [i for i in range(len(pictures)) if i != index]
    order.insert(len(order) // 2, index)
    starts, x = {}, 0
    for i in order:
        starts[i], x = x, x + pictures[i].shape[1]
    row = np.ascontiguousarray(np.hstack([pictures[i] for i in order]))

    def at(i: int, place: tuple[int, int]) -> tuple[int, int]:
        size = pictures[i].shape[:2]
        cells, shown = images[i].part.shape, images[i].shown
        y, x = (
            min((place[d] + 0.5) / cells[d] / shown[d], 1) * size[d] for d in (0, 1)
        )
        return starts[i] + int(x), int(y)

    for pair in pairs:
        start = at(index, pair.place)
        for i, k in pair.negatives:
            cv2.arrowedLine(row, start, at(i, images[i].places[k]), RED, 1, cv2.LINE_AA)
        i, k = pair.positive
        cv2.arrowedLine(row, start, at(i, images[i].places[k]), GREEN, 2, cv2.LINE_AA)
    for pair in pairs:
        cv2.circle(row, at(index, pair.place), 4, YELLOW, -1, cv2.LINE_AA)
    return row
