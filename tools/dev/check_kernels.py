"""Losses, gradients and augmentation on the device against float64 on the CPU."""

import copy
import importlib
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from check_rows import INFO, Rows, describe
from torch import Tensor, nn

import mmsemiseg.functional as mm
from mmsemiseg.functional.weighted_cosine import weighted_cosine
from mmsemiseg.models import SemiDataPreProcessor
from mmsemiseg.models.augment import build_augment
from mmsemiseg.models.heads import BankContrastHead
from mmsemiseg.models.losses import DirectionalContrastLoss, PeerContrastLoss
from mmsemiseg.models.losses.peer_contrast_loss import Anchors, Keys
from mmsemiseg.models.memories import ClassQueueBank, StepQueue

DTYPES = dict(fp32=torch.float32, fp16=torch.float16, bf16=torch.bfloat16)
# Largest error over the largest value. Sums are in fp32 for every type of the inputs;
# gradients are then rounded to it
VALUE_TOLERANCE = dict(fp32=1e-4, fp16=1e-4, bf16=1e-4)
GRAD_TOLERANCE = dict(fp32=5e-4, fp16=2e-3, bf16=1e-2)
KINK_TOLERANCE = 3e-2
LOSS_SCALE = 1024  # of a mean, so that gradients in fp16 are not below its range
SMALL_SHARE = 1e-2  # of the largest gradient: what is below is as good as 0
DIMS = ((64, 21), (128, 21), (256, 21), (512, 105), (2048, 21))
SIZES = dict(anchors=1024, keys=4096, height=80, queue=256)
SMALL_DIMS = ((16, 5), (24, 21))
SMALL_SIZES = dict(anchors=24, keys=64, height=16, queue=8)


class Case(NamedTuple):
    """A function of tensors.

    Args:
        name: Name in the table.
        function: Function of the inputs by name, and of ``module`` if there is one;
            returns a tensor or a tuple of them.
        inputs: CPU tensors; those in fp32 are given in each type.
        learns: Inputs that get a gradient.
        module: Module whose parameters get a gradient.
        kinked: Whether the function has a ReLU, so that a rounding may turn a single
            gradient.
        typed: Inputs that are given in each type; None: all in fp32.
    """

    name: str
    function: Callable
    inputs: dict
    learns: tuple[str, ...] = ()
    module: nn.Module | None = None
    kinked: bool = False
    typed: tuple[str, ...] | None = None


def run(rows: Rows, args) -> None:
    torch.manual_seed(0)
    sizes, dims = (SMALL_SIZES, SMALL_DIMS) if args.small else (SIZES, DIMS)
    with rows.guarded('surroundings'):
        rows.add('surroundings', INFO, surroundings(args.device))
    makers = (contrast_cases, loss_cases, pixel_cases)
    for maker in makers:
        with rows.guarded(maker.__name__):
            for case in maker(sizes, dims):
                if rows.has_time(case.name):
                    with rows.guarded(case.name):
                        compare(rows, case, args.device)
    checks = (
        check_mixing,
        check_augmentation,
        check_banks,
        check_selection,
        check_parts,
    )
    for check in checks:
        if rows.has_time(check.__name__):
            with rows.guarded(check.__name__):
                check(rows, args.device, sizes)


def surroundings(device: str) -> str:
    """Which of PyTorch's kernels are there."""
    if device == 'cuda':
        name = torch.cuda.get_device_name()
        precise = not torch.backends.cuda.matmul.allow_tf32
        return f'{name}, matmul in {"fp32" if precise else "TF32"}, ' + grouped(device)
    return grouped(device)


def grouped(device: str) -> str:
    """For which types PyTorch has the product of ragged groups."""
    module = importlib.import_module('mmsemiseg.functional.class_attention')
    types = [
        name
        for name, dtype in DTYPES.items()
        if module._has_grouped(torch.device(device), dtype)
    ]
    return f'grouped_mm in {", ".join(types) or "no type"}'


# Comparison


def compare(rows: Rows, case: Case, device: str) -> None:
    """One row: for each type the error of the values and of the gradients."""
    texts, figures, good = [], {}, True
    for name, dtype in DTYPES.items():
        try:
            expected = outcome(case, dtype, torch.float64, 'cpu')
            found = outcome(case, dtype, dtype, device)
            value, grad = (error(a, b) for a, b in zip(found, expected, strict=True))
        except Exception as problem:
            texts.append(f'{name} {describe(problem)}')
            good = False
            continue
        limits = VALUE_TOLERANCE[name], GRAD_TOLERANCE[name]
        if case.kinked:
            limits = limits[0], max(limits[1], KINK_TOLERANCE)
        within = value <= limits[0] and grad <= limits[1]
        good &= within
        mark = '' if within else ' !'
        texts.append(f'{name} {value:.1e} {grad:.1e}{mark}')
        figures[name] = dict(
            value=value, grad=grad, tolerances=[str(x) for x in limits]
        )
    rows.passed(case.name, good, ' | '.join(texts), errors=figures)


def outcome(case: Case, dtype, compute, device: str) -> tuple[list, list]:
    """Values and gradients of inputs rounded to ``dtype``, given in ``compute``."""
    inputs = {}
    for name, value in case.inputs.items():
        typed = case.typed is None or name in case.typed
        if isinstance(value, Tensor):
            if value.dtype == torch.float32:
                wide = compute == torch.float64
                kept = compute if typed or wide else value.dtype
                value = (value.to(dtype) if typed else value).to(kept)
            value = value.to(device)
            if name in case.learns:
                value = value.detach().clone().requires_grad_()
        inputs[name] = value
    module = copy.deepcopy(case.module)
    if module is not None:
        module.to(device)
        if compute == torch.float64:
            module.double()
        inputs['module'] = module
    values = case.function(**inputs)
    values = values if isinstance(values, tuple) else (values,)
    total = sum(weighted(v) for v in values if v.requires_grad)
    learns = [inputs[name] for name in case.learns]
    learns += list(module.parameters()) if module is not None else []
    grads = []
    if isinstance(total, Tensor):
        grads = torch.autograd.grad(total, learns, allow_unused=True)
    return [v.detach() for v in values], [g for g in grads if g is not None]


def weighted(value: Tensor) -> Tensor:
    """Sum with weights that do not cancel; places without a finite value count 0."""
    if value.dim() == 0:
        return LOSS_SCALE * value
    steps = torch.arange(value.numel(), device=value.device, dtype=value.dtype)
    weights = torch.cos(steps).view_as(value)
    finite = torch.isfinite(value.detach())
    return torch.where(finite, value, 0).mul(weights.where(finite, 0)).sum()


def error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest difference over the largest value, of the worst tensor."""
    if len(found) != len(expected):
        raise ValueError(f'{len(found)} tensors in place of {len(expected)}')
    worst, smallest = 0.0, SMALL_SHARE * max(map(largest, expected), default=0.0)
    for a, b in zip(found, expected, strict=True):
        a, b = a.double().cpu(), b.double()
        infinite = ~torch.isfinite(b)
        if not torch.equal(a[infinite], b[infinite]):
            return math.inf
        a, b = a[~infinite], b[~infinite]
        gap = largest(a - b) / max(largest(b), smallest, 1e-12)
        if not math.isfinite(gap) or a.isnan().any():
            return math.inf
        worst = max(worst, gap)
    return worst


def largest(values: Tensor) -> float:
    values = values[torch.isfinite(values)]
    return values.abs().max().item() if values.numel() else 0.0


# Inputs


def unit(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape), dim=-1)


def groups(n: int, classes: int) -> Tensor:
    """Some are of no class."""
    return torch.randint(-1, classes, (n,))


# Cases


def contrast_cases(sizes: dict, dims) -> list[Case]:
    """The sum over the keys of other groups, by each kernel at each width."""
    a, k = sizes['anchors'], sizes['keys']
    cases = []
    for dim, classes in dims:
        inputs = dict(
            anchors=unit(a, dim),
            keys=unit(k, dim),
            anchor_group=groups(a, classes),
            key_group=groups(k, classes),
        )
        for backend in ('attention', 'chunked'):

            def negatives(
                anchors, keys, anchor_group, key_group, kind=(classes, backend)
            ):
                args = anchors, keys, anchor_group, key_group, kind[0], 0.1, kind[1]
                return mm.group_logsumexp(*args)

            name = f'group_logsumexp {dim}+{classes} {backend}'
            cases.append(Case(name, negatives, inputs, ('anchors', 'keys')))

        def chosen(anchors, keys, anchor_group, key_group, classes=classes):
            args = anchors, keys, anchor_group, key_group, classes, 0.1
            own = mm.paired_logit(anchors, anchors, 0.5)
            return mm.info_nce(mm.group_logsumexp(*args), own)

        cases.append(Case(f'info_nce {dim}+{classes}', chosen, inputs, ('anchors',)))
    dim, classes = dims[1]
    inputs = dict(
        anchors=unit(a, dim),
        keys=unit(k, dim),
        anchor_group=groups(a, classes),
        key_group=groups(k, classes),
    )

    index = torch.randint(-1, k, (a, 32))
    drawn = dict(anchors=unit(a, dim), keys=unit(k, dim), index=index)

    def without(**named):
        return mm.logsumexp_without(**named, num_groups=classes, temperature=0.1)

    return [
        *cases,
        Case(
            'sampled_logsumexp',
            lambda **named: mm.sampled_logsumexp(**named, temperature=0.1),
            drawn,
            ('anchors', 'keys'),
        ),
        Case(
            'logsumexp_without',
            without,
            dict(inputs, excluded=index[:, :2].clone()),
            ('anchors', 'keys'),
        ),
    ]


def loss_cases(sizes: dict, dims) -> list[Case]:
    """CAC's directional, CMB's bank and CTT's peer contrast."""
    a, n = sizes['anchors'], sizes['queue']
    return [
        *_directional(a, sizes['keys'], *dims[1]),
        *_bank(a, n, dims[-2][0], dims[0][1]),
        *_peer(a, n, dims[1][0], dims[0][1]),
    ]


def _directional(a: int, k: int, dim: int, classes: int) -> list[Case]:
    inputs = dict(
        anchors=unit(a, dim),
        positives=unit(a, dim),
        keys=unit(k, dim),
        label=torch.randint(0, classes, (a,)),
        key_label=groups(k, classes),
        place=torch.randint(-1, k, (a,)),
        other=torch.randint(-1, k, (a,)),
        mine=torch.rand(a),
        theirs=torch.rand(a),
        overlap=torch.rand(2, a // 2) < 0.8,
    )

    def make(loss, with_places):
        def run(mine, theirs, place, other, label, overlap, keys, key_label, **rows):
            return loss(
                **rows,
                confidence=(mine, theirs),
                label=label,
                overlap=overlap,
                keys=keys,
                key_label=key_label,
                places=(place, other) if with_places else None,
            )

        return run

    cases = []
    for name, settings, places in (
        ('CAC directional contrast', {}, False),
        ('CAC directional contrast, places', dict(norm='overlap'), True),
        ('CAC directional contrast, no filter', dict(negative_filter=False), True),
    ):
        loss = DirectionalContrastLoss(classes, threshold=0.5, **settings)
        typed = 'anchors', 'positives', 'keys'
        function = make(loss, places)
        cases.append(Case(name, function, inputs, ('anchors',), typed=typed))
    return cases


def _bank(a: int, n: int, dim: int, classes: int) -> list[Case]:
    width = min(dim, 256)
    inputs = dict(
        rows=torch.randn(a, dim),
        group=groups(a, classes),
        keys=torch.randn(classes, n, width),
        filled=torch.rand(classes, n) < 0.7,
    )

    def contrast(rows, group, keys, filled, module):
        predicted = module(rows.to(module.projection.first.weight.dtype), group >= 0)
        weights = module.scores(predicted.detach(), group, 'prediction')
        own = module.key_weights(keys.to(predicted.dtype), filled)
        return weighted_cosine(predicted, group, keys, filled, weights, own)

    def cosine(rows, group, keys, filled):
        return weighted_cosine(rows, group, keys, filled)

    module = BankContrastHead(dim, classes, width, width)
    plain = dict(inputs, rows=torch.randn(a, width))
    attention = dict(
        rows=torch.randn(classes, n, width),
        filled=inputs['filled'],
        weight=torch.randn(classes, width, width) / width**0.5,
        scale=torch.rand(classes, width) + 0.5,
        shift=torch.randn(classes, width),
        out=torch.randn(classes, width) / width**0.5,
    )
    tiles = torch.arange(classes).repeat_interleave(2)[: 2 * classes]
    tiled = dict(
        attention,
        rows=torch.randn(len(tiles), n, width),
        filled=torch.rand(len(tiles), n) < 0.7,
        group=tiles,
    )

    def of_classes(rows, filled, weight, scale, shift, out, group=None):
        scores, *_ = mm.class_attention(rows, filled, group, weight, scale, shift, out)
        return torch.where(filled, scores, 0)

    learns = 'weight', 'scale', 'shift', 'out'
    in_fp32 = 'rows', 'keys'
    return [
        Case('CMB bank contrast', contrast, inputs, ('rows',), module, True, in_fp32),
        Case('weighted_cosine', cosine, plain, ('rows',)),
        Case(
            'class_attention, of keys',
            of_classes,
            attention,
            learns,
            None,
            True,
            in_fp32,
        ),
        Case('class_attention, tiles', of_classes, tiled, learns, None, True, in_fp32),
    ]


def _peer(a: int, n: int, dim: int, classes: int) -> list[Case]:
    inputs = dict(
        features=unit(a, dim),
        peer=unit(a, dim),
        bank=unit(classes, n, dim),
        other=unit(classes, n, dim),
        filled=torch.rand(classes, n) < 0.7,
        group=groups(a, classes),
        mine=torch.rand(a),
        theirs=torch.rand(a),
    )
    loss = PeerContrastLoss(classes, threshold=0.5)

    def high(features, bank, filled, group, mine, **_):
        anchors = Anchors(features, group, mine)
        return loss.high_level(anchors, Keys(bank, filled))

    def low(features, peer, bank, other, filled, group, mine, theirs):
        banks = [Keys(bank, filled), Keys(other, filled)]
        anchors = Anchors(features, group, mine)
        return loss.low_level(anchors, Anchors(peer, group, theirs), banks)

    typed = 'features', 'peer', 'bank', 'other'
    return [
        Case('CTT high level', high, inputs, ('features',), typed=typed),
        Case('CTT low level', low, inputs, ('features',), typed=typed),
    ]


def pixel_cases(sizes: dict, dims) -> list[Case]:
    """Losses of pixels, and where the features and logits of cells come from."""
    h, classes = sizes['height'], dims[0][1]
    inputs = dict(
        logits=3 * torch.randn(2, classes, h, h),
        teacher=3 * torch.randn(2, classes, h, h),
        valid=torch.rand(2, h, h) < 0.9,
    )

    def labels(teacher, valid, soft):
        pseudo = mm.pseudo_label(teacher, valid, 0.7, keep_probs=soft)
        return pseudo, mm.pixel_weights(pseudo, 0.5, power=2.0)

    def hard(logits, teacher, valid):
        return mm.pseudo_label_loss(logits, *labels(teacher, valid, False))

    def soft(logits, teacher, valid):
        return mm.pseudo_label_loss(logits, *labels(teacher, valid, True), 'weights')

    def entropy(logits, valid, teacher):
        return mm.entropy_loss(logits, valid)

    def cells(logits, valid, teacher):
        return mm.logits_at_cells(logits, (4 * h, 4 * h), (2 * h, 2 * h))

    learns = ('logits',)
    return [
        Case('pseudo label loss, hard', hard, inputs, learns),
        Case('pseudo label loss, soft', soft, inputs, learns),
        Case('entropy loss', entropy, inputs, learns),
        Case('logits at cells', cells, inputs, learns),
    ]


# What must be equal


def check_mixing(rows: Rows, device: str, sizes: dict) -> None:
    """The same random numbers give the same masks and images."""
    h = sizes['height']
    images, label = torch.randn(4, 3, h, h), torch.randint(0, 5, (4, h, h))

    def mixed(device):
        generator = torch.Generator().manual_seed(1)
        partner = mm.partners(4, device, generator)
        boxes = mm.cutmix_masks(4, h, h, device=device, generator=generator)
        donors = label.to(device)[partner]
        classes = mm.classmix_masks(donors, 5, extra=1, generator=generator)
        found = [boxes, classes]
        for mask in (boxes, classes):
            found += mm.mix(mask, partner, images.to(device), label.to(device))
        return [x.cpu() for x in found]

    same = all(map(torch.equal, mixed(torch.device(device)), mixed('cpu')))
    rows.passed('CutMix, ClassMix', same, 'bit-equal' if same else 'differs')


def check_augmentation(rows: Rows, device: str, sizes: dict) -> None:
    h = sizes['height']
    images, label = torch.randn(4, 3, h, h), torch.randint(0, 5, (4, h, h))
    geometry = [
        dict(type='BatchClassMix', prob=0.8),
        dict(type='BatchScaleCrop', prob=0.8),
        dict(type='BatchFlip', prob=0.5),
    ]
    strengths = dict(brightness=0.3, contrast=0.3, saturation=0.15, hue=0.1)
    colours = [
        dict(type='BatchColorJitter', prob=0.8, **strengths),
        dict(type='BatchBlur', prob=0.5),
    ]
    for name, ops in (('geometry', geometry), ('colours', colours)):
        check = f'device augmentation, {name}'
        with rows.guarded(check):
            augment = build_augment(ops)

            def run(device, augment=augment):
                torch.manual_seed(1)
                prepare = SemiDataPreProcessor(mean=[120.0] * 3, std=[60.0] * 3)
                prepare = prepare.to(device)
                new, maps = augment(
                    images.to(device),
                    dict(label=label.to(device)),
                    dict(label=255),
                    preprocessor=prepare,
                )
                return new.cpu(), maps['label'].cpu()

            (new, new_label), (old, old_label) = run(device), run('cpu')
            gap, same = error([new], [old]), torch.equal(new_label, old_label)
            value = f'images {gap:.1e}, labels {"equal" if same else "differ"}'
            rows.passed(check, same and gap <= 1e-4, value)


def check_banks(rows: Rows, device: str, sizes: dict) -> None:
    """The same rows give the same banks."""
    n, classes, dim = sizes['anchors'], 5, 16
    states = []
    steps = [(torch.randn(n, dim), groups(n, classes), torch.rand(n)) for _ in '123']
    for where in (device, 'cpu'):
        bank = ClassQueueBank(classes, sizes['queue'], dim).to(where)
        queue = StepQueue(1, 4 * n // 3, dim).to(where)
        for step in steps:
            features, group, score = (x.to(where) for x in step)
            bank.enqueue(features, group)
            bank.enqueue(features, group, score, 3)
            bank.enqueue(features, group, per_group=3)
            queue.enqueue(features, group)
        state = [*bank.state_dict().values(), *queue.state_dict().values()]
        states.append([x.cpu() for x in state])
    same = all(map(torch.equal, *states))
    rows.passed('banks and queues', same, 'bit-equal' if same else 'differ')


def check_selection(rows: Rows, device: str, sizes: dict) -> None:
    """Rows by group and cells by place are the same ones."""
    n, classes = sizes['anchors'], 5
    group, score = groups(n, classes), torch.rand(n)

    def found(device):
        g, s = group.to(device), score.to(device)
        found = [
            mm.rank_in_group(g, s),
            *mm.select_per_group(g, classes, 7, s, best_last=True),
            *mm.tiles_by_group(g, classes, 16),
        ]
        counts = mm.class_counts(g.clamp(min=0).view(1, 1, -1), classes)
        return [x.cpu() for x in (*found, counts)]

    same = all(map(torch.equal, found(device), found('cpu')))
    rows.passed('selection, tiles, counts', same, 'equal' if same else 'differ')


def check_parts(rows: Rows, device: str, sizes: dict) -> None:
    """Soft labels, parts and K-means of ESL, under deterministic algorithms."""
    side, before = sizes['height'], torch.are_deterministic_algorithms_enabled()
    logits = 4 * torch.randn(2, 21, side, side)
    label = torch.randint(5, (2, side, side))
    deep, prototypes = torch.randn(2, 32, side // 4, side // 4), torch.randn(5, 3, 32)
    means = 20 * torch.randn(3, 32)
    points = means[torch.arange(sizes['keys']) % 3] + torch.randn(sizes['keys'], 32)

    def found(device):
        probs = logits.to(device).softmax(1)
        soft = mm.dynamic_soft_label(probs) > 0
        maps = deep.to(device), prototypes.to(device), label.to(device)
        part = mm.assign_parts(*maps, label.shape[1:])
        clusters = mm.kmeans(points.to(device), 3)
        return soft.cpu(), part.cpu(), clusters.inertia

    try:
        torch.use_deterministic_algorithms(True)
        mine, theirs = found(device), found('cpu')
    finally:
        torch.use_deterministic_algorithms(before)
    differ = [
        (a != b).float().mean().item()
        for a, b in zip(mine[:2], theirs[:2], strict=True)
    ]
    apart = abs(mine[2] / theirs[2] - 1)
    text = f'{max(differ):.1e} of the places differ, inertia {apart:.1e}'
    rows.passed('soft labels, parts, K-means', max(*differ, apart) < 1e-3, text)
