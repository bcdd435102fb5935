"""Wrapper of a training data set: seeded samples, checked labels, clear errors."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmcv.transforms import LoadAnnotations
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from .checks.streams import leaf_datasets
from .transforms import CheckLabels
from .transforms.strict_compose import StrictCompose


@contextmanager
def sample_rng(seed: int) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators, and restore them afterwards."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@DATASETS.register_module()
class StreamDataset(Dataset):
    """Wraps a data set of a training stream: reproducible samples, checked labels.

    ``SemiTrainLoop`` puts it around the data set of each stream.

    - The sampler gives each sample a seed of its own (:class:`SampleIndex`), under
      which the pipeline runs. So a sample depends neither on the worker that loads it
      nor on what was loaded before it.
    - The values of each mask are checked when it is first read.
    - A transform that fails is an error that names the image; MMEngine would silently
      take another image.

    Args:
        dataset: Any mmseg data set or its config; wrappers (concatenation, repetition)
            too.
        stream: Name of the stream, for messages.
    """

    def __init__(self, dataset: dict | Dataset, stream: str = 'labeled') -> None:
        if isinstance(dataset, dict):
            dataset = DATASETS.build(dataset)
        if hasattr(dataset, 'full_init'):
            dataset.full_init()
        self.dataset = dataset
        self.stream = stream
        for leaf in leaf_datasets(dataset):
            self._make_strict(leaf)

    def _make_strict(self, leaf: Dataset) -> None:
        transforms = list(leaf.pipeline.transforms)
        classes = leaf.metainfo.get('classes')
        if classes and not any(isinstance(t, CheckLabels) for t in transforms):
            check = CheckLabels(len(classes), getattr(leaf, 'ignore_index', 255))
            for index in reversed(range(len(transforms))):
                if isinstance(transforms[index], LoadAnnotations):
                    transforms.insert(index + 1, check)
        leaf.pipeline = StrictCompose(transforms)

    @property
    def metainfo(self) -> dict:
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Nothing: done at construction (mmengine calls this)."""

    def get_data_info(self, index: int) -> dict:
        return self.dataset.get_data_info(int(index))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        seed = getattr(index, 'seed', None)
        if seed is None:
            return self.dataset[int(index)]
        with sample_rng(seed):
            return self.dataset[int(index)]
