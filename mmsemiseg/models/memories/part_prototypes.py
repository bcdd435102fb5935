"""Prototypes of the parts of each class, which follow the features."""

import torch
from mmengine.dist import is_main_process
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional import kmeans
from ...utils.gather import copy_from_first
from ...utils.settings import check_integers, check_numbers


@MODELS.register_module()
class PartPrototypes(nn.Module):
    r"""K prototypes of each of C classes: found by K-means, then moving averages.

    .. math:: P_{ck} \leftarrow \theta P_{ck} + (1 - \theta) P'_{ck}

    for the parts that a step has seen, with P' the mean of their features. The
    checkpoint has all of the state.

    Args:
        classes: Number of classes C.
        parts: Number of parts K of a class.
        dim: Width D of a feature.
        decay: Weight theta of the old prototype, in [0, 1].
        iterations: Largest number of iterations of K-means.
        restarts: Number of runs of K-means, of which the best is taken.
        seed: Seed of K-means.

    Attributes:
        vectors: Prototypes (C, K, D) float32.
        known: Mask (C, K) bool of the prototypes that exist. A class that had fewer
            distinct features than K when it was begun has fewer parts.

    >>> prototypes = PartPrototypes(classes=2, parts=1, dim=1, decay=0.5)
    >>> prototypes.begin(torch.tensor([[2.0], [4.0]]), torch.tensor([0, 0]))
    >>> prototypes.update(torch.tensor([[10.0], [1.0]]), torch.tensor([2.0, 1.0]))
    >>> prototypes.vectors.flatten().tolist(), prototypes.known.flatten().tolist()
    ([4.0, 0.0], [True, False])
    """

    def __init__(
        self,
        classes: int,
        parts: int,
        dim: int,
        decay: float = 0.99,
        iterations: int = 100,
        restarts: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_integers(1, classes=classes, parts=parts, dim=dim)
        check_integers(1, iterations=iterations, restarts=restarts)
        check_integers(0, seed=seed)
        check_numbers(1, decay=decay)
        self.decay = decay
        self.kmeans = dict(iterations=iterations, restarts=restarts, seed=seed)
        self.register_buffer('vectors', torch.zeros(classes, parts, dim))
        self.register_buffer('known', torch.zeros(classes, parts, dtype=torch.bool))
        self._begun: tuple[bool, ...] | None = None

    @property
    def begun(self) -> tuple[bool, ...]:
        """Whether each class has prototypes.

        Read from the device when they have changed, and else kept: a step that asks
        does not wait for the device.
        """
        if self._begun is None:
            self._begun = tuple(self.known.any(1).tolist())
        return self._begun

    @property
    def complete(self) -> bool:
        """Whether every class has prototypes."""
        return all(self.begun)

    def missing_classes(self) -> list[int]:
        """Classes without prototypes."""
        return [c for c, begun in enumerate(self.begun) if not begun]

    @torch.no_grad()
    def begin(self, features: Tensor, label: Tensor, progress=None) -> None:
        """K-means of the features of each class that has no prototypes yet.

        All processes must call it. The first one clusters its features and sends the
        prototypes to the others, whose features are not read.

        Args:
            features: Features (n, D), of any float type and on any device.
            label: Class (n,) int64 of each feature.
            progress: Function that is called after each class with its number, the
                number of its features and the mean of their squared distances to the
                prototypes.
        """
        if is_main_process():
            self._cluster(features, label, progress)
        copy_from_first(self.vectors, self.known)
        self._begun = None

    def _cluster(self, features: Tensor, label: Tensor, progress) -> None:
        for c in self.missing_classes():
            rows = features[label == c]
            if len(rows):
                found = kmeans(rows, self.vectors.shape[1], **self.kmeans)
                self.vectors[c] = found.centres.to(self.vectors)
                self.known[c] = found.found.to(self.known.device)
                if progress is not None:
                    progress(c, len(rows), found.inertia / len(rows))

    @torch.no_grad()
    def update(self, sums: Tensor, count: Tensor) -> None:
        """One step of the moving averages, from sums over all images and processes.

        Args:
            sums: Sums (C * K, D) of the features of each part.
            count: Numbers (C * K,) of features in them; parts without any, and those
                that do not exist, stay as they are.
        """
        means = sums / count.clamp(min=1)[:, None]
        moves = ((count > 0) & self.known.flatten())[:, None]
        old = self.vectors.flatten(0, 1)
        new = old.lerp(means.to(old), 1 - self.decay)
        self.vectors.copy_(torch.where(moves, new, old).view_as(self.vectors))

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self._begun = None

    def extra_repr(self) -> str:
        classes, parts, dim = self.vectors.shape
        return f'classes={classes}, parts={parts}, dim={dim}, decay={self.decay}'
