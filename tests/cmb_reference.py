"""One step of CMB as its equations say it: class by class, pair by pair.

With gathered vectors, PyTorch's own BatchNorm, lists as banks and windows.
"""

import copy
import inspect
import math
from collections import deque
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from mmsemiseg.models import (
    CMB,
    BankContrast,
    BatchAugment,
    EntropyLoss,
    LabeledCandidates,
    PseudoLabelLoss,
    build_augment,
)
from mmsemiseg.models.segmentors.cmb import PSEUDO_LOSS

EPS = 1e-30


class Recorder(BatchAugment):
    """Keeps what goes in and what comes out."""

    def __init__(self, ops):
        super().__init__(build_augment(ops).ops)
        self.calls = []

    def __call__(self, images, maps, fills, **settings):
        result = super().__call__(images, maps, fills, **settings)
        self.calls.append(SimpleNamespace(images=images, maps=maps, result=result))
        return result


def record(model, weak=None, strong=None):
    """Augment by recorders."""
    model.weak_augment = Recorder(weak)
    model.strong_augment = Recorder(strong)
    if model.contrast is None:
        return
    candidates = model.contrast.candidates
    selected = type(candidates).selected

    def keep_state(*args):
        model.random_state, model.rows = torch.get_rng_state(), len(args[1])
        return selected(candidates, *args)

    candidates.selected = keep_state


class Heads:
    """Those of a BankContrastHead, with modules of their own for each class."""

    def __init__(self, head):
        self.projection = perceptron(head.projection)
        self.prediction = perceptron(head.prediction)
        self.selectors = {
            name: [selector(attention, c) for c in range(attention.num_classes)]
            for name, attention in head.attention.items()
        }

    def named(self, value):
        """What ``value(tensor)`` gives for each tensor, by the names of our head."""
        parts = {}
        for name in ('projection', 'prediction'):
            first, norm, _, second = getattr(self, name)
            parts[f'{name}.first.weight'] = value(first.weight)
            parts[f'{name}.second.weight'] = value(second.weight)
            parts[f'{name}.second.bias'] = value(second.bias)
            for key in ('weight', 'bias', 'running_mean', 'running_var'):
                parts[f'{name}.norm.{key}'] = value(getattr(norm, key))
        for name, modules in self.selectors.items():
            first, norm, _, second, _ = zip(*modules, strict=True)
            tensors = {
                'first': [value(layer.weight).T for layer in first],
                'norm_weight': [value(layer.weight) for layer in norm],
                'norm_bias': [value(layer.bias) for layer in norm],
                'running_mean': [value(layer.running_mean) for layer in norm],
                'running_var': [value(layer.running_var) for layer in norm],
                'second': [value(layer.weight)[0] for layer in second],
                'second_bias': [value(layer.bias)[0] for layer in second],
            }
            for key, values in tensors.items():
                parts[f'attention.{name}.{key}'] = torch.stack(values)
        return parts

    def weigh(self, name, c, vectors):
        """S of vectors of class c, whose gradient does not reach them."""
        return self.selectors[name][c](vectors.detach())[:, 0]


def perceptron(ours):
    first = nn.Linear(*ours.first.weight.T.shape, bias=False)
    norm = nn.BatchNorm1d(len(ours.norm.weight))
    first.load_state_dict(ours.first.state_dict())
    norm.load_state_dict(ours.norm.state_dict(), strict=False)
    return nn.Sequential(first, norm, nn.ReLU(), copy.deepcopy(ours.second))


def selector(ours, c):
    dim, hidden = ours.first.shape[1:]
    first, norm = nn.Linear(dim, hidden, bias=False), nn.BatchNorm1d(hidden)
    second = nn.Linear(hidden, 1)
    with torch.no_grad():
        first.weight.copy_(ours.first[c].T)
        norm.weight.copy_(ours.norm_weight[c])
        norm.bias.copy_(ours.norm_bias[c])
        norm.running_mean.copy_(ours.running_mean[c])
        norm.running_var.copy_(ours.running_var[c])
        second.weight.copy_(ours.second[c][None])
        second.bias.copy_(ours.second_bias[c][None])
    return nn.Sequential(first, norm, nn.LeakyReLU(0.2), second, nn.Sigmoid())


def completed(kind, settings, **defaults):
    """Settings of a class with its defaults, as attributes; None stays None."""
    if settings is None:
        return None
    found = inspect.signature(kind.__init__).parameters.items()
    defaults |= {name: value.default for name, value in found}
    return SimpleNamespace(**{**defaults, **settings})


class Reference:
    """Does with a model's weights what it does, but keeps its own bank and windows."""

    def __init__(self, model, settings):
        self.s = s = completed(CMB, settings, sup_weight=1.0)
        s.pseudo_loss = completed(PseudoLabelLoss, {**PSEUDO_LOSS, **s.pseudo_loss})
        s.entropy = completed(EntropyLoss, s.entropy)
        s.contrast = completed(BankContrast, s.contrast, feature='pre_cls')
        self.feature = 'pre_cls' if s.contrast is None else s.contrast.feature
        self.candidates = None
        if s.contrast is not None:
            self.candidates = completed(LabeledCandidates, s.contrast.candidates)
        self.classes = model.student.decode_head.num_classes
        size = 0 if s.contrast is None else s.contrast.bank['size']
        self.bank = [deque(maxlen=size) for _ in range(self.classes)]
        if self.s.class_balance:
            self.label_window, self.pseudo_window = [], []

    def before(self, model):
        """The weights of this step; the model's loss is called after it."""
        self.nets = {k: copy.deepcopy(v) for k, v in model.networks.items()}
        self.heads = {}
        if self.s.contrast:
            pair = model.contrast.head_pairs[0]
            self.heads = dict(student=Heads(pair.student), teacher=Heads(pair.teacher))

    def losses(self, model, inputs, iteration):
        """What the model's loss must have been, of the views that it recorded."""
        s, self.iteration = self.s, iteration
        labeled, unlabeled = inputs['labeled'], inputs['unlabeled']
        weak, strong = (
            [call.result for call in augment.calls]
            for augment in (model.weak_augment, model.strong_augment)
        )
        assert len(strong) == s.num_augments
        number = math.floor((iteration + 1) * s.source_ratio)
        from_source = number > math.floor(iteration * s.source_ratio)
        from_source &= 'source' in inputs
        assert len(weak) == 1 + from_source

        label, confidence = self.pseudo_labels(unlabeled)
        for call in model.strong_augment.calls:
            assert torch.equal(call.maps['label'], label)
            torch.testing.assert_close(call.maps['confidence'], confidence)
            assert torch.equal(call.images, unlabeled.inputs)
        before = inputs['source'] if from_source else labeled
        alpha = self.class_weights(labels_of(before), label)

        more_images = torch.cat([view for view, _ in strong])
        if s.unlabeled_first:
            more = run(self.nets['student'], more_images, self.feature)
        images, maps = weak[-1]
        logits, features = run(self.nets['student'], images, self.feature)
        losses = {}
        truth = maps['gt_sem_seg']
        losses['sup.decode.loss_ce'] = s.sup_weight * supervised(logits, truth, alpha)

        pseudo, confidence, valid = (
            torch.cat([moved[name] for _, moved in strong])
            for name in ('label', 'confidence', 'valid')
        )
        if not s.unlabeled_first:
            more = run(self.nets['student'], more_images, self.feature)
        logits, more_features = more
        losses['loss_pseudo'] = (
            s.pseudo_loss.weight
            * ramp(s.pseudo_loss.ramp_up, iteration)
            * self.pseudo(logits, pseudo, confidence, alpha)
        )
        if s.entropy:
            losses['loss_entropy'] = s.entropy.weight * self.entropy(logits, valid)
        if s.contrast:
            images, maps = weak[0]
            self.collect(images, maps['gt_sem_seg'], model)
            maps = (features, truth), (more_features, pseudo)
            losses['loss_contrast'] = s.contrast.weight * self.contrast(maps)
        return losses

    def pseudo_labels(self, unlabeled):
        """Of the images as they are, by the teacher in train mode."""
        with torch.no_grad():
            logits, _ = run(self.nets['teacher'], unlabeled.inputs, self.feature)
        size = unlabeled.inputs.shape[2:]
        logits = F.interpolate(logits, size, mode='bilinear', align_corners=False)
        confidence, label = logits.softmax(1).max(1)
        label[~unlabeled.valid] = 255
        return label, confidence

    def class_weights(self, labels, pseudo):
        """alpha: sqrt(median f / f_c) of the batches of both windows."""
        ones, balance = np.ones(self.classes), self.s.class_balance
        if not balance:
            return ones
        windows = self.label_window, self.pseudo_window
        for window, label in zip(windows, (labels, pseudo), strict=True):
            window.append([int((label == c).sum()) for c in range(self.classes)])
        if self.iteration < balance['start']:
            return ones
        sizes = balance['labels'], balance['pseudo']
        if any(len(rows) < size for rows, size in zip(windows, sizes, strict=True)):
            return ones
        kept = self.pseudo_window[-sizes[1] :]
        if balance.get('keep_labels') == 'first':
            kept += self.label_window[: sizes[0]]
        else:
            kept += self.label_window[-sizes[0] :]
        frequency = np.sum(kept, 0)
        occurs = frequency > 0
        median, least = np.median(frequency[occurs]), 0
        if balance.get('median') == 'all' and np.median(frequency) > 0:
            median, least = np.median(frequency), 1
        alpha = np.sqrt(median / np.maximum(frequency, 1))
        return np.where(occurs, alpha, max(alpha[occurs].max(), least))

    def pseudo(self, logits, pseudo, confidence, alpha):
        probs = probabilities(logits, pseudo.shape[1:])
        total = 0
        for c in range(self.classes):
            here = pseudo == c
            beta = confidence[here] ** self.s.pseudo_loss.confidence_power
            total = total - alpha[c] * (beta * probs[:, c][here].log()).sum()
        return total / pseudo.numel()

    def entropy(self, logits, valid):
        probs = probabilities(logits, valid.shape[1:])
        each = -(probs * (probs + EPS).log()).sum(1)
        over = valid if self.s.entropy.over == 'valid' else torch.ones_like(valid)
        total = (each * valid).sum() / max(int(over.sum()), 1)
        return (
            total / {'nats': 1, 'classes': math.log(self.classes)}[self.s.entropy.norm]
        )

    @torch.no_grad()
    def collect(self, images, label, model):
        """Enter the best vectors of labeled pixels into the bank."""
        s, size_of_bank = self.candidates, self.s.contrast.bank['size']
        if self.iteration < s.start:
            return
        heads = self.heads[s.network]
        logits, features = run(self.nets[s.network], images, self.feature)
        size = features.shape[2:]
        if s.read_at == 'pixel':  # all of the crop, then the label's pixels
            confidence, predicted = probabilities(logits, images.shape[2:]).max(1)
            confidence, predicted = nearest(confidence, size), nearest(predicted, size)
        else:
            confidence, predicted = logits.softmax(1).max(1)
        label = nearest(label, size)
        good = label != 255
        if s.threshold is not None:
            good &= (predicted == label) & (confidence > s.threshold)
        places = good.flatten().nonzero()[:, 0].tolist()
        if len(places) < 2:
            return
        rows = features.permute(0, 2, 3, 1).flatten(0, 2)[places]
        vectors, label = heads.projection(rows), label.flatten()[places].tolist()
        image = [place // (features.shape[2] * features.shape[3]) for place in places]
        scores = self.scores(heads, vectors, label, model, places)
        chosen = []
        for c in range(self.classes):
            rows = [i for i in range(len(places)) if label[i] == c]
            sign = 1 if s.rank == 'lowest' else -1
            for part in range(len(images)) if s.per == 'image' else (None,):
                among = [i for i in rows if part is None or image[i] == part]
                number = s.number
                number *= len(images) if part is None else 1
                number = min(number, size_of_bank)
                if len(among) > number:  # else as they are
                    among.sort(key=lambda i: sign * scores[i])
                chosen += enumerate(among[:number])
        # the best at the front, where the end is what a full bank forgets
        for _, i in sorted(chosen, key=lambda one: (-one[0], one[1])):
            self.bank[label[i]].append(vectors[i])

    def scores(self, heads, vectors, label, model, places):
        if self.candidates.rank == 'random':
            generator = torch.Generator()
            generator.set_state(model.random_state)
            scores = torch.rand(model.rows, generator=generator)
            return (scores if len(scores) == len(places) else scores[places]).tolist()
        scores = [0] * len(label)
        for c in range(self.classes):
            rows = [i for i in range(len(label)) if label[i] == c]
            if len(rows) > 1:
                seen = vectors[rows]
                if (
                    self.candidates.rank_by == 'projection'
                    and self.s.contrast.attention_input == 'unit'
                ):
                    seen = F.normalize(seen, dim=1)
                weights = heads.weigh(self.candidates.rank_by, c, seen)
                for i, weight in zip(rows, weights.tolist(), strict=True):
                    scores[i] = weight
        return scores

    def contrast(self, maps):
        s, heads = self.s.contrast, self.heads['student']
        if self.iteration < s.start:
            return torch.zeros(())
        keys, key_weights = {}, {}
        for c in range(self.classes):
            if len(self.bank[c]) < 2:
                continue
            keys[c] = torch.stack(list(self.bank[c]))
            key_weights[c] = torch.ones(len(keys[c]))
            if s.attention and s.memory_attention:
                seen = keys[c]
                if s.attention_input == 'unit':
                    seen = F.normalize(seen, dim=1)
                key_weights[c] = heads.weigh('projection', c, seen)
        parts = [gathered(*part) for part in maps]
        if s.joint:
            parts = [tuple(map(torch.cat, zip(*parts, strict=True)))]
        total = torch.zeros(())
        for rows, label in parts:
            if len(rows) < 2:
                continue
            predictions = heads.prediction(heads.projection(rows))
            for c in range(self.classes):
                p = predictions[label == c]
                if len(p) < 2:
                    continue
                weights = torch.ones(len(p))
                if s.attention:
                    weights = heads.weigh('prediction', c, p)
                if c in keys:
                    distance = pairwise(p, keys[c], weights, key_weights[c])
                    total = total + distance / self.classes
        return total


def pairwise(p, z, s, t):
    """Equations (8) to (11) for one class: the mean over all pairs."""
    w, u = len(p) * s / s.sum(), len(z) * t / t.sum()
    cosine = F.cosine_similarity(p[:, None], z[None], dim=2)
    return (w[:, None] * u[None] * (1 - cosine)).mean()


def run(net, images, feature):
    """Logits and features of an FCN, in the mode of the network."""
    maps, head = net.extract_feat(images), net.decode_head
    found = head._forward_feature(maps)
    return head.conv_seg(found), found if feature == 'pre_cls' else maps[-1]


def supervised(logits, label, alpha):
    probs = probabilities(logits, label.shape[1:])
    total, weight = logits.sum() * 0, 0
    for c, one in enumerate(alpha):
        here = label == c
        total = total - one * probs[:, c][here].log().sum()
        weight = weight + one * int(here.sum())
    return total / weight if weight else total


def probabilities(logits, size):
    logits = F.interpolate(logits, size, mode='bilinear', align_corners=False)
    return logits.softmax(1)


def ramp(settings, iteration):
    if settings is None or iteration >= settings['length']:
        return 1
    if settings['kind'] == 'step':
        return 0
    assert settings['kind'] == 'exp'
    return math.exp(-5 * (1 - iteration / settings['length']) ** 2)


def nearest(label, size):
    """(N, H, W) -> (N, h, w): pixel (floor(i H / h), floor(j W / w))."""
    rows, columns = (
        [i * full // part for i in range(part)]
        for part, full in zip(size, label.shape[1:], strict=True)
    )
    return label[:, rows][:, :, columns]


def gathered(features, label):
    """Vectors of the cells that have a class, and their classes."""
    label = nearest(label, features.shape[2:])
    known = label != 255
    return features.permute(0, 2, 3, 1)[known], label[known]


def labels_of(batch):
    return torch.cat([sample.gt_sem_seg.data for sample in batch.data_samples])


def kept(bank):
    """Rows of each queue, the oldest first."""
    rows = []
    for queue, count, place in zip(
        bank.features, bank.count.tolist(), bank.pointer.tolist(), strict=True
    ):
        rows.append(queue.roll(-place, 0) if count == bank.size else queue[:count])
    return rows
