"""Predicted label maps as PNG files, in the numbers of the user's masks."""

import os
from collections.abc import Mapping

import numpy as np
from PIL import Image

from ..datasets.image_names import base_names, check_unique
from ..utils.settings import check_choices

NUMBERINGS = ('masks', 'classes')
IGNORE_INDEX = 255


class LabelMapWriter:
    """Writes predicted label maps, one PNG file for each image.

    If :meth:`prepare` was told the names, a file has the name and the sub-folder of its
    image (see :func:`~mmsemiseg.datasets.image_names`). Else it has the name alone, and
    a second image of one name is an error.

    Args:
        numbering: Values of the label maps. ``'masks'``: those of the masks of the data
            set, or of the training data if it has no masks: with ``reduce_zero_label``
            class k is k + 1, and in a subset of the classes each keeps its number in
            the data set. ``'classes'``: class k is k.
    """

    def __init__(self, numbering: str = 'masks') -> None:
        check_choices(numbering=(numbering, NUMBERINGS))
        self.numbering = numbering
        self._names: dict[str, str] | None = None
        self._trained: Mapping = {}
        self._written: dict[str, str] = {}

    def prepare(self, names: Mapping[str, str], trained: Mapping) -> None:
        """Set what only the run knows.

        Args:
            names: Name of the file of each image, without suffix, by the path of the
                image.
            trained: Meta information (``metainfo``) of the data set that the model was
                trained on.
        """
        self._names, self._trained = dict(names), trained

    def write(self, folder: str, path: str, label: np.ndarray, meta: Mapping) -> None:
        """Write the (H, W) class numbers of the image at ``path``.

        Args:
            meta: Meta information (``metainfo``) of the data set that has the image.
        """
        target = os.path.join(folder, f'{self._name(path)}.png')
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if self.numbering == 'masks':
            known = meta if 'reduce_zero_label' in meta else self._trained
            label = mask_values(known)[label]
        Image.fromarray(label.astype(np.uint8)).save(target)

    def _name(self, path: str) -> str:
        if self._names is not None:
            return self._names[path]
        name = base_names([path])[path]
        other = self._written.setdefault(name, path)
        check_unique(
            {other: name, path: name},
            "Take SemiRunner (runner_type='SemiRunner') or tools/test.py of mmsemiseg, "
            'which keep sub-folders',
        )
        return name


def mask_values(meta: Mapping) -> np.ndarray:
    """Values (256,) in masks of the predicted class numbers; 255 stays 255.

    >>> mask_values(dict(reduce_zero_label=True))[[0, 1, 254, 255]].tolist()
    [1, 2, 255, 255]
    >>> mask_values(dict(label_map={0: 255, 1: 0, 2: 255, 3: 1}))[[0, 1]].tolist()
    [1, 3]
    """
    values = np.arange(IGNORE_INDEX + 1)
    for old, new in (meta.get('label_map') or {}).items():
        if 0 <= new < IGNORE_INDEX:
            values[new] = old
    shift = bool(meta.get('reduce_zero_label'))
    return np.minimum(values + shift, IGNORE_INDEX)
