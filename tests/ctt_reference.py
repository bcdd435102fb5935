"""CTT written with loops: over pairs, cells, classes and keys."""

import copy
from collections import deque

import torch
import torch.nn.functional as F

from mmsemiseg.functional import classmix_masks, cutmix_masks, mix, partners
from mmsemiseg.models import CutMix

# The contrast: equations 6 to 9. A bank is a list of queues, one of each class, of
# vectors; a cell is (feature, class or -1, confidence).


def high_loops(cells, bank, temperature, threshold, norm='all'):
    total = 0
    for c in range(len(bank)):
        mine = [cell for cell in cells if cell[1] == c]
        active = [cell for cell in mine if cell[2] > threshold]
        terms = []
        for feature, _, _ in active:
            others = negatives(feature, [bank], c, temperature)
            if not len(others):
                continue
            positives = [(feature @ key / temperature).exp() for key in bank[c]]
            losses = [-(one / (one + others.exp().sum())).log() for one in positives]
            terms += [sum(losses) / max(len(losses), 1)]
        total = total + sum(terms) / max(len(mine if norm == 'all' else active), 1)
    return total / len(bank)


def low_loops(
    cells, peers, banks, temperature, threshold, direction=True, norm='all', rule='own'
):
    total = 0
    for c in range(len(banks[0])):
        mine = [pair for pair in zip(cells, peers, strict=True) if pair[0][1] == c]
        active = [
            (cell[0], peer[0].detach(), c if rule == 'own' else peer[1])
            for cell, peer in mine
            if cell[2] <= threshold and (cell[2] < peer[2] or not direction)
        ]
        terms = []
        for feature, other, its in active:
            others = negatives(feature, banks, its, temperature)
            if len(others):
                positive = (feature @ other / temperature).exp()
                terms.append(-(positive / (positive + others.exp().sum())).log())
        total = total + sum(terms) / max(len(mine if norm == 'all' else active), 1)
    return total / len(banks[0])


def negatives(feature, banks, c, temperature):
    """Logits of all keys of other classes."""
    keys = [
        key for bank in banks for k, queue in enumerate(bank) if k != c for key in queue
    ]
    return torch.stack(keys) @ feature / temperature if keys else feature.new_zeros(0)


# A step


class Reference:
    """Keeps queues of its own, which see what ``model`` is given.

    Uses the model's networks and projectors, and of its settings their values.
    """

    def __init__(self, model):
        self.model = model
        self.contrast = model.contrast
        self.weight = model.pseudo_loss.weight
        self.banks = [
            [deque(maxlen=bank.size) for _ in range(model.num_classes)]
            for bank in (self.contrast.banks if self.contrast else ())
        ]

    def enter(self, index, rows):
        """(vector, class) pairs into the bank of a pair."""
        for vector, label in rows:
            if label >= 0:
                self.banks[index][label].append(vector)

    def losses(self, inputs):
        """By name, and [rows that enter, for each pair]."""
        model = self.model
        count = len(model.pairs)
        labeled, unlabeled = inputs['labeled'], inputs['unlabeled']
        if not isinstance(unlabeled, dict):
            unlabeled = dict.fromkeys(model.views, unlabeled)
        weak, strong = (unlabeled[view] for view in model.views)
        labels = self.labels(weak.inputs, weak.valid & strong.valid)
        images = strong.inputs
        if model.mix is not None and len(images) > 1:
            images, labels = self.mixed(images, labels)
        losses, outputs = {}, []
        for i, pair in enumerate(model.pairs):
            name = str(i) if count > 1 else ''
            sup = pair.student.loss(labeled.inputs, copy.deepcopy(labeled.data_samples))
            for key, value in sup.items():
                factor = model.sup_weight if 'loss' in key else 1
                losses[f'sup{name}.{key}'] = factor * value
            outputs.append(
                (
                    model.adapter(pair.student, labeled.inputs),
                    model.adapter(pair.student, images),
                )
            )
            if self.weight:
                logits = resized(outputs[-1][1].logits, images.shape[2:], model)
                terms = [
                    F.cross_entropy(logits, labels[j], ignore_index=255)
                    for j in self.teachers_of(i)
                ]
                losses[f'loss_ct{name}'] = self.weight * reduced(terms, model.ct_reduce)
        entered = []
        if model.has_memory:
            entered = [self.candidates(i, labeled) for i in range(count)]
            losses.update(self.contrasted(labeled, outputs, labels, entered))
        return losses, entered

    def teachers_of(self, index):
        everyone = range(len(self.model.pairs))
        if self.model.teaching == 'ensemble':
            return [0]
        if self.model.teaching == 'own':
            return [index]
        if self.model.teaching == 'dual' or len(everyone) == 1:
            return list(everyone)
        return [j for j in everyone if j != index]

    @torch.no_grad()
    def labels(self, images, valid):
        model, probs = self.model, []
        for pair in model.pairs:
            network = pair.student if pair.teacher is None else pair.teacher
            logits = model.adapter(network, images).logits
            probs.append(resized(logits, images.shape[2:], model).softmax(1))
        if model.teaching == 'ensemble':
            probs = [sum(probs) / len(probs)] * len(probs)
        return [one.argmax(1).masked_fill(~valid, 255) for one in probs]

    def mixed(self, images, labels):
        """The same numbers are drawn, in the same order."""
        partner = partners(len(images))
        if isinstance(self.model.mix, CutMix):
            mask = cutmix_masks(len(images), *images.shape[2:])
        else:
            mask = classmix_masks(labels[0][partner], self.model.num_classes)
        return mix(mask, partner, images), [mix(mask, partner, one) for one in labels]

    def cells(self, index, output, label, own, network='student', ignored=()):
        """Of one map; ``own``: the class is the argmax wherever there is a label.

        Labels that are 255 or ``ignored`` are none.
        """
        model, found = self.model, []
        features, rules = output.features, self.contrast
        if len(rules.head_pairs):
            features = getattr(rules.head_pairs[index], network)(features)
        elif rules.cells.normalize:
            features = features / features.norm(dim=1, keepdim=True).clamp(min=1e-12)
        size = features.shape[2:]
        read = label.shape[1:] if rules.cells.read_at == 'pixel' else size
        probs = resized(output.logits.detach(), read, model).softmax(1)
        steps = [big // small for big, small in zip(label.shape[1:], size, strict=True)]
        far = steps if rules.cells.read_at == 'pixel' else (1, 1)
        for n in range(len(features)):
            for y in range(size[0]):
                for x in range(size[1]):
                    given = label[n, y * steps[0], x * steps[1]].item()
                    confidence, seen = probs[n, :, y * far[0], x * far[1]].max(0)
                    if given in (255, *ignored):
                        given = -1
                    elif own:
                        given = seen.item()
                    cell = features[n, :, y, x], given, confidence.item()
                    found.append((*cell, seen.item()))
        return found

    @torch.no_grad()
    def candidates(self, index, labeled):
        """The best cells of each class that the labeler predicts as labeled."""
        model, banks, kind = self.model, self.contrast.banks, self.contrast.keys_from
        output = model.adapter(getattr(model.pairs[index], kind), labeled.inputs)
        ignored = [model.ignore_index]
        cells = self.cells(index, output, gt(labeled), False, kind, ignored)
        scores = [confidence for _, _, confidence, _ in cells]
        if banks.enqueue_select == 'random':
            scores = torch.rand(len(cells)).tolist()
        chosen = []
        for c in range(model.num_classes):
            right = [i for i, (_, k, _, seen) in enumerate(cells) if k == seen == c]
            right.sort(key=lambda i: -scores[i])
            chosen += right[: min(banks.enqueue_number, banks[0].size)]
        return [(cells[i][0], cells[i][1]) for i in sorted(chosen)]

    def contrasted(self, labeled, outputs, labels, entered):
        model, rules = self.model, self.contrast
        banks = copy.deepcopy(self.banks)
        for bank, rows in zip(banks, entered, strict=True):
            for vector, label in rows:
                bank[label].append(vector)
        keys, ready = zip(*map(self.usable, banks), strict=True)
        if rules.levels_begin == 'together':
            ready = [set.intersection(*ready)] * len(banks)
        cells = []
        for i, (with_label, without) in enumerate(outputs):
            source = labels[self.teachers_of(i)[0]]
            rule = rules.cells.anchor_label
            ignored = [model.ignore_index]
            own = rule == 'self'
            found = self.cells(i, with_label, gt(labeled), own, 'student', ignored)
            found += self.cells(i, without, source, rule != 'pseudo')
            cells.append([cell[:3] for cell in found])
        if rules.max_anchors is not None and rules.max_anchors < len(cells[0]):
            drawn = torch.randperm(len(cells[0]))[: rules.max_anchors].tolist()
            cells = [[one[place] for place in drawn] for one in cells]
        losses, count = {}, len(model.pairs)
        loss = rules.loss
        settings = loss.temperature, loss.threshold
        for i, mine in enumerate(cells):
            name = str(i) if count > 1 else ''
            if rules.hc_weight:
                high = high_loops(of(mine, ready[i]), keys[i], *settings, loss.norm)
                losses[f'loss_hc{name}'] = rules.hc_weight * high
            if rules.lc_weight:
                terms = []
                for j in range(count):
                    if i == j:
                        continue
                    both = ready[i] & ready[j]
                    args = of(mine, both), cells[j], [keys[i], keys[j]]
                    how = loss.direction, loss.norm, rules.lc_class
                    terms.append(low_loops(*args, *settings, *how))
                low = reduced(terms, rules.lc_reduce)
                losses[f'loss_lc{name}'] = rules.lc_weight * low
        return losses

    def usable(self, bank):
        """Keys, and the classes that are contrasted."""
        full = {c for c, queue in enumerate(bank) if len(queue) == queue.maxlen}
        everyone = set(range(len(bank)))
        if self.contrast.banks.ready == 'class':
            return [q if c in full else [] for c, q in enumerate(bank)], full
        begun = full == everyone if self.contrast.banks.ready == 'all' else bool(full)
        return bank, everyone if begun else set()


def reduced(terms, how):
    return sum(terms) / (len(terms) if how == 'mean' else 1)


def of(cells, classes):
    return [(f, k if k in classes else -1, c) for f, k, c in cells]


def gt(batch):
    return torch.cat([sample.gt_sem_seg.data for sample in batch.data_samples])


def resized(logits, size, model):
    return F.interpolate(
        logits, tuple(size), mode='bilinear', align_corners=model.align_corners
    )
