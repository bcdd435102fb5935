"""Base of the components of a method that compare features."""

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
    """Component of a method that compares features, perhaps with those of a bank.

    A subclass is built with the method as its first argument. It reads the method's
    number of classes and feature channels there, and must not keep the method. Its
    ``forward`` returns losses and changes no saved state. Features for a bank, one a
    row, are collected by ``model.remember(self, name=rows)``; after the optimizer step
    the rows of all batches and processes come back to :meth:`update_memory`.

    Args:
        init_cfg: Initialisation in MMEngine's form.

    Attributes:
        head_pairs: Networks behind the features, such as projectors, each a
            :class:`Pair` whose EMA copy is updated with the teachers. Fill it by
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
        """Store the rows that the batches of a step have collected."""

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
            model: Method that has this component, with its ``pairs``, ``adapter`` and
                ``iteration``.
            labeled: Labeled images, as the students have seen them.
            passes: Outputs of each student, with gradient.
            pseudo: For each student one pseudo label of the unlabeled images as the
                student has seen them. A student that learns several, one from each
                labeler, gives the first.
            target: Labeled images from the domain of the unlabeled ones, where
                ``labeled`` are from another domain; None: ``labeled``.
        """

    @property
    def reads_pseudo(self) -> bool:
        """Whether the classes of the pseudo labels are read; else only ``valid`` is."""
        return True
