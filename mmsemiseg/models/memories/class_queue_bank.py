"""One queue of rows for each class, or for each part of each class."""

import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from ...functional.group_select import rank_in_group, select_per_group
from ...utils.settings import check_integers


@MODELS.register_module()
class ClassQueueBank(nn.Module):
    """Memory bank: a queue of N rows (feature vectors) for each of G groups.

    A group is a class, or one of several object parts of a class. A new row replaces
    the oldest of its own queue. The same rows in the same order give the same bank on
    every process and device. All of its state is in the checkpoint.

    Args:
        groups: Number of queues G: C for C classes; C * K for K parts of each, where
            part k of class c is group c * K + k.
        size: Number of rows N of a queue.
        dim: Width D of a row.

    Attributes:
        features: Rows (G, N, D) float32. Queue g is in ``features[g, :count[g]]``.
        count: Number of rows in each queue, (G,) int64.
        pointer: Index of the next row in each queue, (G,) int64.

    Raises:
        ValueError: A setting, or the shape of what is entered, is wrong.

    >>> bank = ClassQueueBank(groups=2, size=2, dim=1)
    >>> rows = torch.tensor([[5.0], [6.0], [7.0], [8.0]])
    >>> bank.enqueue(rows, group=torch.tensor([0, 1, 0, 0]))
    >>> keys, group = bank.keys()
    >>> sorted(keys[group == 0].flatten().tolist()), group.tolist()
    ([7.0, 8.0], [0, 0, 1, -1])
    >>> bank.ready('each').tolist()
    [True, False]
    """

    def __init__(self, groups: int, size: int, dim: int) -> None:
        super().__init__()
        check_integers(1, groups=groups, size=size, dim=dim)
        self.groups = groups
        self.size = size
        self.dim = dim
        self.register_buffer('features', torch.zeros(groups, size, dim))
        self.register_buffer('count', torch.zeros(groups, dtype=torch.int64))
        self.register_buffer('pointer', torch.zeros(groups, dtype=torch.int64))

    @torch.no_grad()
    def enqueue(
        self,
        features: Tensor,
        group: Tensor,
        score: Tensor | None = None,
        per_group: int | None = None,
    ) -> None:
        """Enter rows into the queues of their groups, in the order of the rows.

        Args:
            features: Rows (n, D); n may be 0.
            group: Groups (n,) of the rows, integers; rows outside of 0 to G - 1 are
                left out.
            score: Scores (n,) of the rows, of which the highest enter; of equal scores
                the first row wins, and a row with score NaN is the last that is taken.
                None: the first rows enter.
            per_group: Largest number of rows that enter a queue, and never more than N.
                None: N, and without a score all rows enter, so that the last N remain.
        """
        self._check(features, group, per_group)
        if len(group) == 0:
            return
        if score is None and per_group is None:
            score = torch.arange(len(group), device=group.device)
        per_group = min(per_group or self.size, self.size)
        index, group = select_per_group(group, self.groups, per_group, score)
        self._write(features, index, group)

    def preview(
        self,
        features: Tensor,
        group: Tensor,
        score: Tensor | None = None,
        per_group: int | None = None,
    ) -> 'ClassQueueBank':
        """The bank as it will be after :meth:`enqueue`; this one stays as it is."""
        with torch.device('meta'):  # no memory: its buffers are replaced
            bank = type(self)(self.groups, self.size, self.dim)
        for name, value in self.named_buffers():
            setattr(bank, name, value.clone())
        bank.enqueue(features, group, score, per_group)
        return bank

    def _write(self, features: Tensor, index: Tensor, group: Tensor) -> None:
        """Rows ``index``, at most N of each group; those of group -1 are not written.

        Instead of the latter the first row is written once more. It is of group -1
        itself only if all are; then a place is written with its own content.
        """
        never = group < 0
        queue = group.clamp(min=0)
        place = (self.pointer[queue] + rank_in_group(group)) % self.size
        place += queue * self.size
        place = torch.where(never, place[:1], place)
        rows = features[torch.where(never, index[:1], index)]
        stored = self.features.view(-1, self.dim)
        rows = torch.where(never[:1, None], stored[place[:1]], rows.to(stored.dtype))
        stored.index_copy_(0, place, rows)
        entered = torch.zeros_like(self.count).index_add_(0, queue, (~never).long())
        self.count.add_(entered).clamp_(max=self.size)
        self.pointer.add_(entered).remainder_(self.size)

    def keys(self) -> tuple[Tensor, Tensor]:
        """All places, (G * N, D), and their group, (G * N,) int64, -1 where empty.

        The rows are the bank's own memory, which the next :meth:`enqueue` overwrites.
        """
        groups = torch.arange(self.groups, device=self.count.device)
        group = torch.where(self.filled(), groups[:, None], -1)
        return self.features.view(-1, self.dim), group.flatten()

    def filled(self) -> Tensor:
        """Mask (G, N) bool, True where there is a row."""
        places = torch.arange(self.size, device=self.count.device)
        return places < self.count[:, None]

    def ready(self, mode: str = 'all') -> Tensor:
        """Whether 'all' queues are full, or 'any', () bool; or 'each', (G,) bool."""
        full = self.count == self.size
        modes = dict(all=full.all, any=full.any, each=full.clone)
        if mode not in modes:
            raise ValueError(f'mode must be one of {list(modes)}, but got {mode!r}')
        return modes[mode]()

    def fill(self, num_classes: int) -> Tensor:
        """Share of the places of each class that hold a row, (num_classes,)."""
        return self.count.view(num_classes, -1).float().mean(1) / self.size

    def extra_repr(self) -> str:
        return f'groups={self.groups}, size={self.size}, dim={self.dim}'

    def _check(self, features: Tensor, group: Tensor, per_group: int | None) -> None:
        if features.shape != (len(group), self.dim):
            raise ValueError(
                f'features and group must be (n, {self.dim}) and (n,), but got '
                f'{tuple(features.shape)} and {tuple(group.shape)}'
            )
        if per_group is not None and (not isinstance(per_group, int) or per_group < 1):
            raise ValueError(
                f'per_group must be an integer >= 1 or None, but got {per_group}'
            )
