"""How full the memory banks of a checkpoint are."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor


class Bank(NamedTuple):
    """A bank of one queue for each class, or for each part of each class.

    Attributes:
        name: Place of the bank in the model.
        size: Rows that the queues of a class hold at most.
        rows: Number of rows by class.
    """

    name: str
    size: int
    rows: dict[str, int]

    @property
    def share(self) -> float:
        """Share of the places that hold a row."""
        return sum(self.rows.values()) / (self.size * len(self.rows))


def banks_of(content: Mapping) -> tuple[Bank, ...]:
    """The banks of a checkpoint: buffers ``features`` (G, N, D) and ``count`` (G,).

    >>> import torch
    >>> state = {'bank.features': torch.zeros(4, 8, 3),
    ...          'bank.count': torch.tensor([8, 0, 2, 1])}
    >>> meta = dict(dataset_meta=dict(classes=('sky', 'road')))
    >>> banks_of(dict(state_dict=state, meta=meta))
    (Bank(name='bank', size=16, rows={'sky': 8, 'road': 3}),)
    """
    state = content.get('state_dict') or {}
    meta = (content.get('meta') or {}).get('dataset_meta') or {}
    classes = list(meta.get('classes') or ())
    found = []
    for key, count in state.items():
        name = key.removesuffix('.count')
        features = state.get(f'{name}.features')
        if name == key or not isinstance(features, Tensor) or features.dim() != 3:
            continue
        groups, size = features.shape[:2]
        if not classes or groups % len(classes):
            continue
        parts = groups // len(classes)
        rows = count.view(-1, parts).sum(1).tolist()
        found.append(Bank(name, size * parts, dict(zip(classes, rows, strict=True))))
    return tuple(found)
