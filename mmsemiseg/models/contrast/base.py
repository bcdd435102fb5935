"""Base of the parts that compare features."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from mmengine.model import BaseModule, ModuleList
from torch import Tensor

from ...functional import PseudoLabel
from ...utils.profiling import stage
from ..adapter import SegmentorOutput
from ..data_preprocessor import Batch


class Pass(NamedTuple):
    """Outputs of one student for the labeled and for the unlabeled images."""

    labeled: SegmentorOutput
    unlabeled: SegmentorOutput


class FeaturePart(BaseModule):
    """Part of a method that compares features, perhaps with those of a bank.

    A subclass is built with the method as its first argument, whose number of classes
    and feature channels it reads; it must not keep the method. Its ``forward`` gives
    losses and changes no saved state: rows for a bank are left by
    ``model.remember(self, name=rows)``, and come back to :meth:`update_memory` after
    the optimizer step, those of all batches and processes.

    Attributes:
        head_pairs: Projectors and such, each a :class:`Pair` with an EMA copy that is
            updated with the teachers:
            ``self.head_pairs.append(model.make_pair(head))``.
    """

    def __init__(self, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.head_pairs = ModuleList()

    @stage('contrast')
    def __call__(self, *args, **kwargs) -> dict[str, Tensor]:
        return super().__call__(*args, **kwargs)

    @property
    def has_memory(self) -> bool:
        """Whether there is state that :meth:`update_memory` changes."""
        return False

    def update_memory(self, **rows: Tensor) -> None:
        """Keep what the batches of a step left."""

    def unready_classes(self) -> list[int]:
        """Classes whose contrast waits for rows in the bank."""
        return []


class Contrast(FeaturePart, ABC):
    """Contrast of the features of labeled and unlabeled images."""

    @abstractmethod
    def forward(
        self,
        model,
        labeled: Batch,
        passes: list[Pass],
        pseudo: list[PseudoLabel],
        target: Batch | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, each name with ``loss`` in it.

        Args:
            model: Method that this is a part of, with its ``pairs``, ``adapter`` and
                ``iteration``.
            labeled: Labeled images, as the students have seen them.
            passes: Outputs of each student, with gradient.
            pseudo: Pseudo labels of the unlabeled images that the students have seen,
                those that each student learns first.
            target: Labeled images of the domain of the unlabeled ones, where
                ``labeled`` are of another domain; None: ``labeled``.
        """

    @property
    def reads_pseudo(self) -> bool:
        """Whether pseudo labels are read, and not only where they are valid."""
        return True
