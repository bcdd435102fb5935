"""K-means of many rows in bounded memory."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor

NUMBERS_PER_CHUNK = 2**23  # of the rows, in float32
STARTS = 8  # tried before each run of all iterations
FIRST_ITERATIONS = 5  # of a start that is tried
FIRST_ROWS = 2048  # at most, that starts are tried on
SAME = 1e-6  # share of its squared length by which a row may miss its centre


class KMeans(NamedTuple):
    """Centres of the clusters of n rows.

    Args:
        centres: Means (k, D) float32 of the clusters, in no order; 0 where not found.
        found: Mask (k,) bool, False where there were fewer distinct rows than clusters.
        inertia: Sum of the squared distances of the rows to their centres.
    """

    centres: Tensor
    found: Tensor
    inertia: float


@torch.no_grad()
def kmeans(
    rows: Tensor,
    k: int,
    iterations: int = 100,
    seed: int = 0,
    restarts: int = 1,
    tolerance: float = 1e-4,
    progress: Callable[[int, float], None] | None = None,
) -> KMeans:
    """Lloyd's iterations from the start of k-means++, Euclidean and seeded.

    Besides the rows themselves, which may be in half precision and stay where they are,
    it needs memory for a chunk of them and a few numbers for each. Several starts are
    tried for a few iterations, most of them on a random part of many rows, and the best
    one is taken to its end.

    Args:
        rows: Rows (n, D) of any float type; n may be less than k, or 0.
        k: Number of clusters, at least 1.
        iterations: Largest number of iterations.
        seed: Seed of the starts. The random generators of the process are not touched.
        restarts: Number of times that this is done; the result with the least inertia
            is taken.
        tolerance: Iterations end when the centres moved, squared and in all, by less
            than this share of the mean variance of a column; also when no row changed
            its cluster.
        progress: Function that is called after each iteration with its number and the
            inertia.

    >>> rows = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
    >>> found = kmeans(rows, k=2)
    >>> sorted(found.centres.flatten().tolist()), found.inertia
    ([0.5, 10.5], 1.0)
    >>> kmeans(rows[:1], k=2).found.tolist()
    [True, False]
    """
    for name, value in dict(k=k, iterations=iterations, restarts=restarts).items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f'{name} must be an integer >= 1, but got {value!r}')
    if rows.dim() != 2 or not rows.is_floating_point():
        raise ValueError(
            f'rows must be (n, D) floats, but got {tuple(rows.shape)} {rows.dtype}'
        )
    if len(rows) == 0:
        centres = torch.zeros(k, rows.shape[1], device=rows.device)
        return KMeans(centres, torch.zeros_like(centres[:, 0], dtype=torch.bool), 0.0)
    generator = Generator().manual_seed(seed)
    data = _Rows(rows)
    tries = [
        _lloyd(data, _start(data, k, generator), iterations, tolerance, progress)
        for _ in range(restarts)
    ]
    centres, inertia = min(tries, key=lambda one: one[1])
    padded = centres.new_zeros(k, centres.shape[1])
    padded[: len(centres)] = centres + data.mean
    found = torch.arange(k, device=rows.device) < len(centres)
    return KMeans(padded, found, inertia)


class _Rows:
    """Rows in chunks of float32, their mean taken off so that squares are exact."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.size = max(NUMBERS_PER_CHUNK // max(rows.shape[1], 1), 1)
        parts = [part.double().sum(0) for part in rows.split(self.size)]
        self.mean = (torch.stack(parts).sum(0) / len(rows)).float()
        parts = [(part.float() - self.mean).square().sum(1) for part in self._parts()]
        self.squares = torch.cat(parts)
        self.variance = (self.squares.double().sum() / rows.numel()).item()

    def _parts(self):
        return self.rows.split(self.size)

    def distances(self, centres: Tensor):
        """Chunk by chunk the rows and their squared distances (m, k)."""
        squares = self.squares[:, None].split(self.size)
        for part, square in zip(self._parts(), squares, strict=True):
            part = part.float() - self.mean
            own = square + centres.square().sum(1)
            yield part, torch.addmm(own, part, centres.T, alpha=-2).clamp_(min=0)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.rows[index].float() - self.mean

    def inertia(self, centres: Tensor) -> float:
        nearest = [far.amin(1).double().sum() for _, far in self.distances(centres)]
        return torch.stack(nearest).sum().item()


def _start(data: _Rows, k: int, generator: Generator) -> Tensor:
    """Centres of the start that has the least inertia after a few iterations."""
    few = len(data.rows) <= FIRST_ROWS
    starts = [_spread(data, k, generator) for _ in range(STARTS if few else 1)]
    found = [_lloyd(data, start, FIRST_ITERATIONS, 0.0, None) for start in starts]
    if not few:
        index = torch.randperm(len(data.rows), generator=generator)[:FIRST_ROWS]
        part = _Rows(data.rows[index.to(data.rows.device)])
        starts = [_spread(part, k, generator) for _ in range(STARTS)]
        tried = [_lloyd(part, start, FIRST_ITERATIONS, 0.0, None) for start in starts]
        centres, _ = min(tried, key=lambda one: one[1])
        centres = centres + (part.mean - data.mean)
        found.append((centres, data.inertia(centres)))
    return min(found, key=lambda one: one[1])[0]


def _spread(data: _Rows, k: int, generator: Generator) -> Tensor:
    """Centres (k' <= k, D) of greedy k-means++; fewer where rows coincide."""
    n, trials = len(data.rows), 2 + k.bit_length()
    device = data.rows.device
    first = torch.randint(n, (1,), generator=generator).to(device)
    centres = data[first]
    nearest = torch.cat([far[:, 0] for _, far in data.distances(centres)])
    while len(centres) < min(k, n):
        apart = nearest > SAME * data.squares  # else it is rounding
        # On the CPU: a GPU adds floats in no fixed order
        total = torch.where(apart, nearest, 0).double().cpu().cumsum(0)
        if not total[-1] > 0:
            break
        draws = torch.rand(trials, generator=generator, dtype=torch.float64)
        chosen = torch.searchsorted(total, draws * total[-1], right=True)
        candidates = data[chosen.clamp(max=n - 1).to(device)]
        after = torch.cat([far for _, far in data.distances(candidates)])
        after = after.minimum(nearest[:, None])
        best = after.double().sum(0).argmin()
        centres = torch.cat([centres, candidates[best][None]])
        nearest = after[:, best]
    return centres


def _lloyd(data, centres, iterations, tolerance, progress) -> tuple[Tensor, float]:
    """Centres of the last iteration, and the inertia with them."""
    label = None
    for iteration in range(iterations):
        found, nearest, sums, count = _assigned(data, centres)
        if progress is not None:
            progress(iteration + 1, nearest.double().sum().item())
        if label is not None and found.equal(label):
            break
        label, old = found, centres
        centres = _means(data, sums, count, nearest, centres)
        moved = (centres - old).square().sum().item()
        if moved <= tolerance * data.variance:
            break
    return centres, data.inertia(centres)


def _assigned(data: _Rows, centres: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cluster and squared distance of each row; sum and number of each cluster."""
    numbers = torch.arange(len(centres), device=centres.device)
    sums, count = torch.zeros_like(centres).double(), torch.zeros_like(numbers)
    labels, distances = [], []
    for part, far in data.distances(centres):
        nearest, label = far.min(1)
        belongs = label == numbers[:, None]
        sums += (belongs.float() @ part).double()
        count += belongs.sum(1)
        labels.append(label)
        distances.append(nearest)
    return torch.cat(labels), torch.cat(distances), sums, count


def _means(data, sums, count, nearest, centres) -> Tensor:
    """Means of the clusters; an empty one moves to the row farthest from its centre."""
    means = (sums / count.clamp(min=1)[:, None]).float()
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = data[nearest.topk(len(empty)).indices]
    return means
