"""The contrasts of the methods, as they are used and in the forms of other code."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..functional import (
    draw_own_negatives,
    draw_positives,
    draw_shared_negatives,
    group_logsumexp,
    info_nce,
    weighted_cosine,
)
from ..models import ClassQueueBank, PeerContrastLoss
from ..models.contrast.part_keys import part_logits
from ..models.heads import ClassAttention
from ..models.losses import Anchors, Keys
from .forms import timed_passes

KEYS_PER_CHUNK = 8000
SKEW = 1.5  # class r has a share in proportion to r ** -SKEW
SURE, PEER, UNSURE = 1.0, 0.75, 0.5  # confidences
PARTS, NEGATIVES = 5, 255  # of ESL: queues of a class, negatives of an anchor


class Case(NamedTuple):
    """Sizes of a contrast; ``keys`` are all, or those of each queue of a bank."""

    rows: int
    keys: int
    dim: int
    classes: int
    variant: str
    temperature: float = 1.0


class Method(NamedTuple):
    """How a contrast is measured.

    Args:
        rows: Default number of rows.
        dim: Default width of the rows.
        keys: Number of keys, from the settings of the contrast.
        variants: Names of what is measured.
        tolerance: Largest difference of two forms, relative to the norm.
        make: ``make(case, draw)`` gives the inputs, the rows first.
        forms: ``form(case, *inputs)`` gives the values; ours comes first.
    """

    rows: int
    dim: int
    keys: Callable[[dict], int]
    variants: tuple[str, ...]
    tolerance: float
    make: Callable[..., tuple]
    forms: dict[str, Callable[..., Tensor]]

    def inputs(self, case: Case, device: str) -> tuple:
        return self.make(case, Draw(device))

    def run(self, form: str, case: Case, inputs: tuple) -> dict:
        """Once: values, gradient of the rows, and the seconds of both passes."""
        rows = inputs[0].detach().requires_grad_()
        value, seconds = timed_passes(lambda: self.forms[form](case, rows, *inputs[1:]))
        return dict(**seconds, value=value, grad=rows.grad)


class Draw:
    """Random inputs, the same in each process."""

    def __init__(self, device: str) -> None:
        self.make = dict(generator=torch.Generator(device).manual_seed(0))
        self.make['device'] = device

    def rows(self, *shape: int) -> Tensor:
        """Rows of unit length, without larger tensors on the way."""
        x = torch.randn(*shape, **self.make)
        x /= x.norm(dim=-1, keepdim=True)
        return x

    def labels(self, number: int, classes: int) -> Tensor:
        return torch.randint(classes, (number,), **self.make)


# CAC: the logsumexp over the negatives


def _negatives(case: Case, draw: Draw) -> tuple:
    rows, keys = draw.rows(case.rows, case.dim), draw.rows(case.keys, case.dim)
    labels = [draw.labels(number, case.classes) for number in (case.rows, case.keys)]
    return rows, keys, *labels


def _kernel(case, *inputs) -> Tensor:
    return group_logsumexp(*inputs, case.classes, case.temperature)


def _chunked(case, *inputs) -> Tensor:
    sizes = case.classes, case.temperature
    return group_logsumexp(*inputs, *sizes, backend='chunked')


def _logits(case, rows, keys, label, key_label) -> Tensor:
    logits = (rows / case.temperature) @ keys.T
    return logits.masked_fill(label[:, None] == key_label, -torch.inf).logsumexp(1)


def _checkpointed(case, rows, keys, label, key_label) -> Tensor:
    total = None
    parts = keys.split(KEYS_PER_CHUNK), key_label.split(KEYS_PER_CHUNK)
    for part, own in zip(*parts, strict=True):
        args = case, rows, part, label, own
        lse = checkpoint(_logits, *args, use_reentrant=False)
        total = lse if total is None else torch.logaddexp(total, lse)
    return total


# CMB: weighted distances to the keys of the class


def _bank(case: Case, draw: Draw) -> tuple:
    """Rows and keys around a centre of their class, attention in both forms."""
    share = torch.ones(case.classes, device=draw.make['device'])
    if 'skewed' in case.variant:
        ranks = torch.arange(1.0, 1 + case.classes, device=draw.make['device'])
        share = ranks**-SKEW
    generator = draw.make['generator']
    label = torch.multinomial(share, case.rows, replacement=True, generator=generator)
    centres = torch.randn(case.classes, 1, case.dim, **draw.make)
    rows = torch.randn(case.rows, case.dim, **draw.make)
    rows += centres[label, 0]
    keys = torch.randn(case.classes, case.keys, case.dim, **draw.make) + centres
    torch.manual_seed(0)
    modules = [published_modules(case.classes, case.dim) for _ in range(2)]
    attention = [same_attention(one).to(rows.device) for one in modules]
    return rows, label, keys, attention, [one.to(rows.device) for one in modules]


def published_modules(classes: int, dim: int) -> nn.ModuleList:
    """A small network for each class; the sigmoid follows."""
    return nn.ModuleList(
        nn.Sequential(
            nn.Linear(dim, dim),
            nn.BatchNorm1d(dim),
            nn.LeakyReLU(0.2),
            nn.Linear(dim, 1),
        )
        for _ in range(classes)
    )


@torch.no_grad()
def same_attention(modules: nn.ModuleList) -> ClassAttention:
    """Our form with the weights of the published one."""
    attention = ClassAttention(len(modules), modules[0][0].in_features)
    for index, (first, norm, _, second) in enumerate(modules):
        attention.first[index] = first.weight.T
        attention.norm_weight[index] = norm.weight
        attention.norm_bias[index] = norm.bias
        attention.second[index] = second.weight[0]
        attention.second_bias[index] = second.bias[0]
    return attention


def _tiles(case, rows, label, keys, attention, modules) -> Tensor:
    filled = torch.ones(keys.shape[:2], dtype=torch.bool, device=keys.device)
    weights = key_weights = None
    if 'whole' in case.variant:
        of_rows, of_keys = attention
        weights, key_weights = of_rows(rows, label), of_keys.of_keys(keys, filled)
    return weighted_cosine(rows, label, keys, filled, weights, key_weights)


def _published(case, rows, label, keys, attention, modules) -> Tensor:
    loss = 0
    for number, own_keys in enumerate(keys):
        own = rows[label == number]
        if len(own) < 2:
            continue
        distance = 1 - F.normalize(own, dim=1) @ F.normalize(own_keys, dim=1).T
        if 'whole' in case.variant:
            of_rows, of_keys = (one[number] for one in modules)
            weights = _mean_one(of_rows(own.detach()).sigmoid())
            key_weights = _mean_one(of_keys(own_keys).sigmoid())
            distance = distance * weights.repeat(1, len(own_keys))
            distance = distance * key_weights.T.repeat(len(own), 1)
        loss = loss + distance.mean()
    return loss / len(keys)


def _mean_one(scores: Tensor) -> Tensor:
    return len(scores) * scores / scores.sum()


# CTT: the high and the low level


def _peers(case: Case, draw: Draw) -> tuple:
    """Rows, labels, confidences, features of the peer at the low level, banks."""
    low = 'low' in case.variant
    rows, label = draw.rows(case.rows, case.dim), draw.labels(case.rows, case.classes)
    share = 0.5 if 'half' in case.variant else 1.0
    chosen = torch.rand(case.rows, **draw.make) < share
    confidence = torch.where(chosen ^ low, SURE, UNSURE)
    peer = draw.rows(case.rows, case.dim) if low else None
    banks = [draw.rows(case.classes, case.keys, case.dim) for _ in range(1 + low)]
    return rows, label, confidence, peer, banks


def _levels(case, rows, label, confidence, peer, banks) -> Tensor:
    loss = PeerContrastLoss(case.classes, case.temperature, PEER)
    anchors = Anchors(rows, label, confidence)
    filled = torch.ones(banks[0].shape[:2], dtype=torch.bool, device=rows.device)
    keys = [Keys(bank, filled) for bank in banks]
    if peer is None:
        return loss.high_level(anchors, keys[0])
    other = Anchors(peer, label, torch.full_like(confidence, PEER))
    return loss.low_level(anchors, other, keys)


def _matrix(case, rows, label, confidence, peer, banks) -> Tensor:
    keys = torch.cat([bank.flatten(0, 1) for bank in banks])
    classes = torch.arange(case.classes, device=rows.device)
    own = label[:, None] == classes.repeat_interleave(case.keys).repeat(len(banks))
    logits = rows @ keys.T / case.temperature
    negatives = logits.masked_fill(own, -torch.inf).logsumexp(1)
    if peer is None:
        terms = F.softplus(negatives[:, None] - logits) * own
        terms, active = terms.sum(1) / own.sum(1), confidence > PEER
    else:
        positive = (rows * peer).sum(1) / case.temperature
        terms, active = F.softplus(negatives - positive), confidence < PEER
    count = label.bincount(minlength=case.classes)
    return (active * terms / count[label]).sum() / case.classes


# ESL: a positive of the queue of the own part, random negatives of all others


def _queues(case: Case, draw: Draw) -> tuple:
    """Anchors, their parts, and a bank whose queues are full."""
    groups = PARTS * case.classes
    rows, part = draw.rows(case.rows, case.dim), draw.labels(case.rows, groups)
    bank = ClassQueueBank(groups, case.keys, case.dim).to(rows.device)
    bank.features.copy_(draw.rows(groups, case.keys, case.dim))
    bank.count.fill_(case.keys)
    return rows, part, bank


def _sampled(case, rows, part, bank) -> Tensor:
    torch.manual_seed(0)  # the same keys in each form
    shared = case.variant == 'part'
    settings = case.temperature, NEGATIVES, shared
    return info_nce(*part_logits(rows, part, bank, *settings))


def _gathered(case, rows, part, bank) -> Tensor:
    """Each anchor has a copy of its keys."""
    torch.manual_seed(0)
    filled, keys = bank.filled(), bank.features.flatten(0, 1)
    positive = draw_positives(filled, part)
    if case.variant == 'part':
        negatives = draw_shared_negatives(filled, NEGATIVES)[part]
    else:
        negatives = draw_own_negatives(filled, part, NEGATIVES)
    own = keys[torch.cat([positive[:, None], negatives], 1)]
    logits = torch.bmm(own, rows[..., None])[..., 0] / case.temperature
    return -logits.log_softmax(1)[:, 0]


METHODS = dict(
    cac=Method(
        6400,
        128,
        lambda part: 2 * part['num_negatives'] * (1 + (part['bank'] or {})['steps']),
        ('negatives',),
        1e-3,
        _negatives,
        dict(ours=_kernel, chunked=_chunked, matrix=_logits, checkpoint=_checkpointed),
    ),
    cmb=Method(
        20_000,
        256,
        lambda part: part['bank']['size'],
        ('distance', 'whole', 'distance, skewed', 'whole, skewed'),
        1e-2,  # at the kink of LeakyReLU float32 is a matter of luck
        _bank,
        dict(ours=_tiles, published=_published),
    ),
    ctt=Method(
        8192,
        256,
        lambda part: part['bank']['size'],
        ('high', 'high, half', 'low', 'low, half'),
        1e-3,
        _peers,
        dict(ours=_levels, matrix=_matrix),
    ),
    esl=Method(
        2875,  # an eighth of those in 8 + 8 images of 513 x 513
        512,
        lambda part: part['bank']['size'],
        ('part', 'anchor'),
        1e-3,
        _queues,
        dict(ours=_sampled, gather=_gathered),
    ),
)
