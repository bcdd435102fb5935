"""Endless sampling in which draw n of a stream can be computed directly."""

import math
from collections.abc import Iterator, Sized
from zlib import crc32

import numpy as np
from mmengine.dist import get_dist_info, sync_random_seed
from mmseg.registry import DATA_SAMPLERS
from torch.utils.data import Sampler


class SampleIndex(int):
    """An index that carries the seed of its draw to the worker.

    An ``int`` as far as any dataset can tell; ``seed`` survives pickling.

    >>> import pickle
    >>> index = pickle.loads(pickle.dumps(SampleIndex(3, seed=11)))
    >>> index, index.seed
    (3, 11)
    """

    seed: int

    def __new__(cls, index: int, seed: int = 0) -> 'SampleIndex':
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    def __reduce__(self):
        return SampleIndex, (int(self), self.seed)


@DATA_SAMPLERS.register_module()
class StreamSampler(Sampler):
    """Infinite sampler whose draw ``n`` depends on ``(seed, stream, n)`` alone.

    The draws go through the data set pass by pass. Pass ``p = n // len(dataset)`` is a
    permutation seeded by ``(seed, stream, p)``. Process ``r`` of ``w`` takes the draws
    ``r, r + w, ...``, so no draw is taken twice, and each draw has a seed of its own
    for the random augmentation of that sample. A resumed run computes where it goes on
    (:meth:`skip`) and does not draw again what it has had.

    Args:
        dataset: Data set with a length; an empty one is a ``ValueError``.
        stream: Name of the stream. Streams of one seed have different orders.
        seed: Seed of the order and of the samples; None draws one and shares it between
            the processes.
        shuffle: Whether the order is random; False goes through the data in order (the
            samples are still seeded).
    """

    def __init__(
        self,
        dataset: Sized,
        stream: str = 'labeled',
        seed: int | None = None,
        shuffle: bool = True,
    ) -> None:
        if len(dataset) == 0:
            raise ValueError(f"stream '{stream}' is empty: its data set has no image")
        self.rank, self.world_size = get_dist_info()
        self.size = len(dataset)
        self.stream = stream
        self.seed = sync_random_seed() if seed is None else seed
        self.shuffle = shuffle
        self.start = 0

    def order(self, num_pass: int) -> np.ndarray:
        """The permutation (size,) of one pass over the data."""
        if not self.shuffle:
            return np.arange(self.size)
        entropy = (self.seed, crc32(self.stream.encode()), num_pass)
        return np.random.default_rng(entropy).permutation(self.size)

    def draw_seed(self, draw: int) -> int:
        """The 32-bit seed of one draw."""
        entropy = (self.seed, crc32(self.stream.encode()), draw, 1)
        return int(np.random.SeedSequence(entropy).generate_state(1)[0])

    def __iter__(self) -> Iterator[SampleIndex]:
        draw = self.start * self.world_size + self.rank
        num_pass, order = -1, None
        while True:
            if draw // self.size != num_pass:
                num_pass = draw // self.size
                order = self.order(num_pass)
            yield SampleIndex(order[draw % self.size], self.draw_seed(draw))
            draw += self.world_size

    def __len__(self) -> int:
        """Draws of this process in one pass (the sampler itself never ends)."""
        return math.ceil(self.size / self.world_size)

    def skip(self, num_samples: int) -> None:
        """Start ``num_samples`` draws of this process later."""
        self.start += num_samples

    def set_epoch(self, epoch: int) -> None:
        """Nothing: passes follow from the draw number."""
