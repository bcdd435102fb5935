"""First prototypes of object parts, by K-means before training."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice

import torch
from mmengine.dataset import RepeatDataset
from mmengine.dist import get_rank, get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.utils import ProgressBar
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from ...utils.model import unwrap
from ...utils.random_state import kept_random_state, seed_generators
from ...utils.reservoir import Reservoir
from ...utils.settings import check_choices, check_integers

DTYPES = dict(float32=torch.float32, float16=torch.float16)


@HOOKS.register_module()
class PrototypeInitHook(Hook):
    """Begin the prototypes of a method with K-means over the labeled images.

    Before the first step the teacher's encoder reads each labeled image once, as the
    labeled stream gives it, also where the data set is repeated. At most
    ``features_per_class`` features of each class, a uniform sample of all, are kept in
    memory and clustered. The model then has the prototypes in its state, and so have
    the checkpoints: a resumed run skips this.

    Several processes share the images. The first one gathers a uniform sample of what
    all of them kept, one class after the other, clusters it, and sends the prototypes
    to the others. Classes without any labeled pixel begin in training, with the first
    batch that has confident pixels of them.

    Name this hook in ``custom_hooks`` of a config of ``ESL``. Without it a warning says
    that the prototypes begin with the features of the first batches.

    Args:
        features_per_class: Largest number of features of a class that are clustered,
            and that a process keeps.
        keep_as: Type in which they wait: ``'float16'``, or ``'float32'``, which takes
            twice the memory. Features beyond the range of the type are an error.
        stream: Stream of the labeled images.
    """

    priority = 'BELOW_NORMAL'  # after the teacher has become a copy of the student
    why_once = 'the second would find nothing to do'

    def __init__(
        self,
        features_per_class: int = 10000,
        keep_as: str = 'float16',
        stream: str = 'labeled',
    ) -> None:
        check_integers(1, features_per_class=features_per_class)
        check_choices(keep_as=(keep_as, tuple(DTYPES)))
        self.features_per_class = features_per_class
        self.keep_as = keep_as
        self.stream = stream

    def before_train(self, runner) -> None:
        model = unwrap(runner.model)
        if not hasattr(model, 'prototype_features'):
            raise ValueError(
                f'PrototypeInitHook begins prototypes, but {type(model).__name__} has '
                'none (no prototype_features())'
            )
        if model.prototypes is None:
            runner.logger.info('PrototypeInitHook has nothing to do: no contrast')
            return
        streams = list(runner.train_loop.streams)
        if self.stream not in streams:
            raise ValueError(
                f'stream of PrototypeInitHook must be in {streams}, but got '
                f'{self.stream!r}'
            )
        if model.prototypes.known.any():
            return
        self._begin(runner, model, self._collect(runner, model))
        missing = model.prototypes.missing_classes()
        if missing:
            runner.logger.warning(
                f'no labeled pixel of the classes {missing}: their parts begin with '
                'the first batch that has confident pixels of them'
            )

    @torch.no_grad()
    def _collect(self, runner, model) -> Reservoir:
        """Features of the images of this process."""
        size, dtype = self.features_per_class, DTYPES[self.keep_as]
        kept = Reservoir(model.num_classes, size, dtype, seed=get_rank())
        loader = runner.train_loop.streams[self.stream]
        images = _images(loader.dataset.dataset)
        count = -(-images // get_world_size())
        bar = None
        if is_main_process():
            runner.logger.info(
                f'prototypes: the encoder reads {images} images of the stream '
                f"'{self.stream}'"
            )
            bar = ProgressBar(count)
        training = model.training
        model.eval()
        with kept_random_state(), closing(self._data(runner, count)) as data:
            seed_generators((runner.seed + get_rank()) % 2**32)
            for batch in data:
                kept.add(*model.prototype_features(batch))
                if bar is not None:
                    bar.update(len(batch.inputs))
        model.train(training)
        if bar is not None:
            bar.file.write('\n')
        return kept

    def _data(self, runner, count: int) -> Iterator:
        """Batches of the labeled stream with the ``count`` images of this process."""
        model, loader = unwrap(runner.model), runner.train_loop.streams[self.stream]
        size = loader.batch_size or 1
        training = dict(vars(loader.sampler))
        order = dict(stream=f'{self.stream}/prototypes', seed=runner.seed, start=0)
        order['size'] = _images(loader.dataset.dataset)
        vars(loader.sampler).update(order)
        try:
            for number, data in enumerate(islice(loader, -(-count // size))):
                batch = model.data_preprocessor({self.stream: data}, True)
                batch = batch['inputs'][self.stream]
                yield type(batch)(*(x[: count - number * size] for x in batch))
        finally:
            vars(loader.sampler).update(training)

    def _begin(self, runner, model, kept: Reservoir) -> None:
        """K-means of one class after the other, so that one is gathered at a time."""

        def tell(c: int, number: int, inertia: float) -> None:
            runner.logger.info(
                f'prototypes of class {c}: K-means of {number} features, mean squared '
                f'distance {inertia:.4g}'
            )

        vectors = model.prototypes.vectors
        for c in range(model.num_classes):
            rows = kept.rows_of_all_processes(c, vectors.shape[-1]).to(vectors.device)
            label = torch.full((len(rows),), c, device=vectors.device)
            model.prototypes.begin(rows, label, tell)


def _images(dataset: Dataset) -> int:
    """Number of images; one that is repeated counts once, and comes first."""
    while isinstance(dataset, RepeatDataset):
        dataset = dataset.dataset
    return len(dataset)
