"""The losses of RC²L with loops over images, segments, queries and pixels."""

import math

import torch

from mmsemiseg.functional import Regions, Segments


def random_regions(seed, n=3, queries=6, classes=4, size=(4, 5), width=3, most=4):
    """Regions with 0 to ``most`` segments an image, padding and unmatched segments."""
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    counts = torch.randint(0, most + 1, (n,), generator=generator).tolist()
    number = max(counts)
    masks = torch.zeros(n, number, *size, dtype=torch.bool)
    label = torch.zeros(n, number, dtype=torch.int64)
    exists = torch.zeros(n, number, dtype=torch.bool)
    query = torch.full((n, number), -1)
    valid = torch.rand(n, *size, generator=generator) < 0.8
    for i, count in enumerate(counts):
        owner = torch.randint(0, count + 1, size, generator=generator)
        for s in range(count):
            masks[i, s] = (owner == s) & valid[i]
        label[i, :count] = torch.randint(0, classes, (count,), generator=generator)
        exists[i, :count] = True
        order = torch.randperm(queries, generator=generator)[:count]
        query[i, :count] = order
    if counts[0] and seed % 2:
        query[0, 0] = -1
    return Regions(
        class_logits=2 * noise(n, queries, classes + 1),
        mask_logits=2 * noise(n, queries, *size),
        segments=Segments(masks, label, exists),
        query=query,
        valid=valid,
        features=noise(n, width, *size),
        target_features=noise(n, width, *size),
    )


def matches(regions, i):
    """[(segment, query)] of the matched segments of image i."""
    exists, query = regions.segments.exists[i].tolist(), regions.query[i].tolist()
    return [(s, q) for s, q in enumerate(query) if exists[s] and q >= 0]


def pixels(regions, i):
    return [tuple(place) for place in regions.valid[i].nonzero().tolist()]


def soft(regions, i, q, place):
    return 1 / (1 + math.exp(-regions.mask_logits[(i, q, *place)].item()))


def hard(regions, i, s, place):
    return float(regions.segments.masks[(i, s, *place)])


def softmax(row):
    shares = [math.exp(v) for v in row.tolist()]
    return [share / sum(shares) for share in shares]


def dice(a, b):
    return 2 * sum(x * y for x, y in zip(a, b, strict=True)) / (sum(a) + sum(b))


def iou2(a, b):
    both = sum(x * y for x, y in zip(a, b, strict=True))
    return 2 * both / (sum(a) + sum(b) - both)


def cosine(a, b):
    length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length


def contrast(pairs, similar, temperature, include_positive):
    """Sum over the pairs (target, own) of one image."""
    total = 0.0
    if len(pairs) < 2:
        return total
    for i, (target, own) in enumerate(pairs):
        top = math.exp(similar(target, own) / temperature)
        below = sum(
            math.exp(similar(target, other) / temperature)
            for j, (_, other) in enumerate(pairs)
            if j != i or include_positive
        )
        total -= math.log(top / below)
    return total


def rmc(regions, similarity='dice', temperature=0.5, include_positive=False):
    total = 0.0
    for i in range(len(regions.valid)):
        places = pixels(regions, i)
        pairs = [
            (
                [hard(regions, i, s, x) for x in places],
                [soft(regions, i, q, x) for x in places],
            )
            for s, q in matches(regions, i)
        ]
        similar = dict(dice=dice, iou2=iou2)[similarity]
        total += contrast(pairs, similar, temperature, include_positive)
    return total


def rfc(regions, temperature=0.5, include_positive=False, target_features='student'):
    features = regions.features
    targets = features if target_features == 'student' else regions.target_features
    total = 0.0
    for i in range(len(regions.valid)):
        places, width = pixels(regions, i), features.shape[1]

        def pooled(weights, of, i=i, places=places, width=width):
            return [
                sum(w * of[(i, d, *x)].item() for w, x in zip(weights, places))  # noqa: B905
                for d in range(width)
            ]

        pairs = [
            (
                pooled([hard(regions, i, s, x) for x in places], targets),
                pooled([soft(regions, i, q, x) for x in places], features),
            )
            for s, q in matches(regions, i)
        ]
        pairs = [pair for pair in pairs if any(pair[0]) and any(pair[1])]
        total += contrast(pairs, cosine, temperature, include_positive)
    return total


def rcc(regions, no_object_weight=0.0):
    total = 0.0
    for i, rows in enumerate(regions.class_logits):
        matched = matches(regions, i)
        for s, q in matched:
            total -= math.log(softmax(rows[q])[regions.segments.label[i, s]])
        for q in set(range(len(rows))) - {q for _, q in matched}:
            if pixels(regions, i):
                total -= no_object_weight * math.log(softmax(rows[q])[-1])
    return total


def mask_loss(shares, target, focal_weight=20.0, dice_weight=1.0):
    """Focal and Dice loss of one mask, lists of its valid pixels."""
    focal = 0.0
    for p, t in zip(shares, target, strict=True):
        p_t, a = (p, 0.25) if t else (1 - p, 0.75)
        focal -= a * (1 - p_t) ** 2 * math.log(p_t) / len(shares)
    both = sum(p * t for p, t in zip(shares, target, strict=True))
    return focal_weight * focal + dice_weight * (
        1 - (2 * both + 1) / (sum(shares) + sum(target) + 1)
    )


def smc(regions, **weights):
    segments, total = regions.segments, 0.0
    for i, rows in enumerate(regions.class_logits):
        best = [max(range(len(row)), key=row.tolist().__getitem__) for row in rows]
        places = pixels(regions, i)
        for s, exists in enumerate(segments.exists[i].tolist()):
            label = segments.label[i, s].item()
            queries = [q for q, c in enumerate(best) if c == label]
            if not exists or not queries:
                continue
            same = [
                r
                for r in range(len(segments.label[i]))
                if segments.exists[i, r] and segments.label[i, r] == label
            ]
            union = [max(soft(regions, i, q, x) for q in queries) for x in places]
            target = [max(hard(regions, i, r, x) for r in same) for x in places]
            total += mask_loss(union, target, **weights)
    return total


def matched_masks(regions, **weights):
    total = 0.0
    for i in range(len(regions.valid)):
        places = pixels(regions, i)
        for s, q in matches(regions, i):
            shares = [soft(regions, i, q, x) for x in places]
            target = [hard(regions, i, s, x) for x in places]
            total += mask_loss(shares, target, **weights)
    return total
