"""Pairs of overlapping crops, and CAC's unsupervised loss in loops over their cells."""

import random

import torch
from helpers import sample
from mmengine.structures import PixelData

from mmsemiseg.models import Batch

CELL = 8  # pixels
SIZE = (32, 48)  # 4 x 6 cells


def crop_pair(offsets, flips, size=SIZE, real=None, seed=0):
    """Two :class:`Batch` es of crops of random images, each with noise of its own.

    ``offsets``: for each image two (top, left); ``flips``: for each image two bools;
    ``real``: for each image its (height, width), beyond which is padding, or None.
    """
    generator = torch.Generator().manual_seed(seed)
    views = [[], []]
    for number, corners in enumerate(offsets):
        whole = [max(c[i] for c in corners) + size[i] for i in (0, 1)]
        image = torch.randn(3, *whole, generator=generator)
        known = torch.zeros(whole, dtype=torch.bool)
        height, width = whole if real is None else real[number]
        known[:height, :width] = True
        for view, corner, flip in zip(views, corners, flips[number], strict=True):
            noise = 0.3 * torch.randn(3, *size, generator=generator)
            rows, cols = (slice(c, c + s) for c, s in zip(corner, size, strict=True))
            valid = known[rows, cols]
            crop = (image[:, rows, cols] + noise) * valid
            data = sample(size=size, labels=False)
            if flip:
                crop, valid = crop.flip(2), valid.flip(1)
            data.valid_map = PixelData(data=valid[None])
            data.set_metainfo(
                dict(
                    crop_offset=tuple(corner),
                    flip=flip,
                    flip_direction='horizontal' if flip else None,
                )
            )
            view.append((crop, data))
    return [
        Batch(torch.stack([crop for crop, _ in view]), [data for _, data in view])
        for view in views
    ]


def random_pair(seed, cell=CELL, images=2, padded=False, size=SIZE):
    """Crops whose offsets differ by whole cells, by half of a crop at most."""
    chance = random.Random(seed)
    offsets, flips, real = [], [], []
    for _ in range(images):
        corner = [chance.randrange(30), chance.randrange(30)]
        most = [side // cell // 2 for side in size]
        shift = [cell * chance.randint(-m, m) for m in most]
        other = [c + s for c, s in zip(corner, shift, strict=True)]
        least = [min(0, c) for c in other]
        corners = [
            [c - low for c, low in zip(one, least, strict=True)]
            for one in (corner, other)
        ]
        offsets.append(corners)
        flips.append([chance.random() < 0.5, chance.random() < 0.5])
        far = [max(c[i] for c in corners) for i in (0, 1)]
        ends = [far[i] + size[i] - padded * chance.randrange(1, 17) for i in (0, 1)]
        real.append(ends)
    return crop_pair(offsets, flips, size, real, seed)


def cells_of(model, view):
    """The cells of one crop of each image, as a step has them."""
    part = model.contrast
    output = model.adapter(model.student, view.inputs, part.pseudo_dropout)
    return part.cells(model, view, output)


class Reference:
    """The contrast of a CAC on two batches, by un-flipping the maps and cutting them.

    ``embeddings`` are those of both views, (D, h, w) for each image, un-flipped.
    """

    def __init__(self, model, views):
        self.model, self.part, self.views = model, model.contrast, views
        self.flips = [[s.flip for s in view.data_samples] for view in views]
        self.corners = [[s.crop_offset for s in view.data_samples] for view in views]
        maps = [self._maps(view) for view in views]
        self.raw = [embedding for embedding, _, _ in maps]  # as the model has them
        self.embeddings, self.probs, self.valid = (
            [self._unflipped(maps[view][kind], view) for view in (0, 1)]
            for kind in (0, 1, 2)
        )
        self.cell = views[0].inputs.shape[2] // self.raw[0].shape[2]
        self.queue = []
        if self.part.bank is not None:
            rows = zip(*self.part.bank.keys(), strict=True)
            self.queue = [(row, int(y), None) for row, y in rows if y >= 0]

    def _maps(self, view):
        features, logits = self._forward(view)
        pooled = self._pooled(features)
        if self.part.pool > 1:
            logits = self._classified(pooled)
        if self.part.projector is None:
            embedding = pooled
        else:
            embedding = self.part.projector.layers(pooled)
        embedding = embedding / embedding.square().sum(1, keepdim=True).sqrt()
        cells = view.inputs.shape[2] // embedding.shape[2]
        valid = view.valid.unfold(1, cells, cells).unfold(2, cells, cells)
        return embedding, logits.detach().softmax(1), valid.all(4).all(3)[:, None]

    def _forward(self, view):
        output = self.model.adapter(self.model.student, view.inputs)
        return output.features, output.logits

    def _classified(self, pooled):
        head = self.model.student.decode_head
        if head.dropout is not None and self.part.pseudo_dropout:
            pooled = head.dropout(pooled)
        weight = head.conv_seg.weight[:, :, 0, 0]
        logits = torch.einsum('ndhw,cd->nchw', pooled, weight)
        return logits + head.conv_seg.bias[:, None, None]

    def _pooled(self, maps):
        p = self.part.pool
        return maps.unfold(2, p, p).unfold(3, p, p).mean((4, 5))

    def _unflipped(self, maps, view):
        flips = self.flips[view]
        return [m.flip(2) if f else m for m, f in zip(maps, flips, strict=True)]

    def _place(self, view, image, row, col):
        """Where a cell is in the image: equal for two cells that show the same."""
        top, left = self.corners[view][image]
        return image, top + row * self.cell, left + col * self.cell

    def cells(self, view):
        """(embedding, label, confidence, place) of the cells that are not padding."""
        for image, embedding in enumerate(self.embeddings[view]):
            for row in range(embedding.shape[1]):
                for col in range(embedding.shape[2]):
                    if not self.valid[view][image][0, row, col]:
                        continue
                    probs = self.probs[view][image][:, row, col]
                    yield (
                        embedding[:, row, col],
                        int(probs.argmax()),
                        float(probs.max()),
                        self._place(view, image, row, col),
                    )

    def pairs(self):
        """(first, second) as in :meth:`cells`, of the cells that both views show."""
        second = {cell[3]: cell for cell in self.cells(1)}
        for cell in self.cells(0):
            if cell[3] in second:
                yield cell, second[cell[3]]

    def overlaps(self):
        """Cells of the overlap of each image."""
        counts = [0] * len(self.flips[0])
        for first, _ in self.pairs():
            counts[first[3][0]] += 1
        return counts

    def negatives(self):
        """(embedding, label, place) of all keys, place None where it is not known."""
        if self.part.num_negatives is None:
            cells = [cell for view in (0, 1) for cell in self.cells(view)]
        else:
            cells = self._drawn()
        return [(cell[0], cell[1], cell[3]) for cell in cells] + self.queue

    def _drawn(self):
        """Which cells those are that the model left for its memory."""
        rows = self.model.step_outputs['memory']
        number = self.part.num_negatives
        for view in (0, 1):
            part = slice(view * number, (view + 1) * number)
            every = list(self.cells(view))
            known = torch.stack([cell[0] for cell in every]).detach()
            drawn = set()
            for row, label in zip(
                rows['contrast.features'][part],
                rows['contrast.labels'][part],
                strict=True,
            ):
                distance = (known - row).norm(dim=1)
                nearest = int(distance.argmin())
                if label < 0:  # padding
                    continue
                assert distance[nearest] < 1e-4
                assert every[nearest][1] == label
                assert nearest not in drawn
                drawn.add(nearest)
                yield every[nearest]

    def loss(self):
        part, losses = self.part, self.part.directional
        if part.loss_type == 'l2':
            terms = [(a[0] - b[0]).square().sum() for a, b in self.pairs()]
            return part.weight * sum(terms) / max(len(terms), 1)
        keys, counts, value = list(self.negatives()), self.overlaps(), 0
        self.selected = [0, 0]
        for side in (0, 1):
            per_image = [[] for _ in counts]
            for pair in self.pairs():
                anchor, positive = pair[side], pair[1 - side]
                if losses.direction and not anchor[2] < positive[2]:
                    continue
                if losses.threshold is not None and not positive[2] > losses.threshold:
                    continue
                term = self._term(anchor, positive, keys)
                per_image[anchor[3][0]].append(term)
            self.selected[side] = sum(map(len, per_image))
            if losses.norm == 'selected':
                value = value + sum(map(sum, per_image)) / max(self.selected[side], 1)
            else:
                means = [
                    sum(terms) / max(count, 1)
                    for terms, count in zip(per_image, counts, strict=True)
                ]
                value = value + sum(means) / len(means)
        return part.weight * value

    def _term(self, anchor, positive, keys):
        losses = self.part.directional
        own = anchor[0] @ positive[0].detach() / losses.temperature
        logits = [own]
        for embedding, label, place in keys:
            if losses.negative_filter and label == anchor[1]:
                continue
            if self.part.exclude_same_location and place == anchor[3]:
                continue
            logits.append(anchor[0] @ embedding.detach() / losses.temperature)
        return torch.stack(logits).logsumexp(0) - own
