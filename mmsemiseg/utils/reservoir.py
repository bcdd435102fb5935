"""A uniform sample of the rows of each class, in bounded memory."""

import torch
from torch import Generator, Tensor

from .gather import gather_rows, gather_rows_to_first


class Reservoir:
    """At most N rows of each class, each row with the same chance whenever it came.

    Every row gets a random number, and those with the largest ones are kept.

    Args:
        classes: Number of classes C.
        size: Largest number N of rows of a class.
        dtype: Type in which the rows are kept, in the memory of the host.
        seed: Seed of the random numbers.

    >>> kept = Reservoir(classes=2, size=3)
    >>> kept.add(torch.arange(8.0)[:, None], torch.tensor([0] * 6 + [1, -1]))
    >>> len(kept.rows(0)), kept.rows(1).tolist()
    (3, [[6.0]])
    """

    def __init__(
        self,
        classes: int,
        size: int,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        self.classes = classes
        self.size = size
        self.dtype = dtype
        self.generator = Generator().manual_seed(seed)
        self._rows: list[Tensor | None] = [None] * classes
        self._numbers = [torch.zeros(0, dtype=torch.float64)] * classes

    def add(self, rows: Tensor, label: Tensor) -> None:
        """Offer rows (n, D) of classes (n,); rows outside of 0 to C - 1 are left.

        Raises:
            ValueError: A row that enters is not finite in the type of the reservoir.
        """
        numbers = torch.rand(len(label), generator=self.generator, dtype=torch.float64)
        label = label.cpu()
        for c in label.unique().tolist():
            if 0 <= c < self.classes:
                own = (label == c).nonzero()[:, 0]
                self._offer(c, rows, own, numbers[own])

    def _offer(self, c: int, rows: Tensor, index: Tensor, numbers: Tensor) -> None:
        old = self._numbers[c]
        joined = torch.cat([old, numbers])
        best = joined.topk(min(self.size, len(joined))).indices
        new = best[best >= len(old)] - len(old)
        if len(new) == 0:
            return
        entering = rows[index[new].to(rows.device)].to('cpu', self.dtype)
        if not entering.isfinite().all():
            raise ValueError(
                f'features of class {c} have numbers that are not finite in '
                f'{self.dtype}: keep them as float32, if they are finite there'
            )
        if self._rows[c] is None:
            self._rows[c] = torch.empty(self.size, rows.shape[1], dtype=self.dtype)
        stays = torch.zeros(len(old), dtype=torch.bool)
        stays[best[best < len(old)]] = True
        free = (~stays).nonzero()[:, 0]
        free = torch.cat([free, torch.arange(len(old), len(best))])
        self._rows[c][free] = entering
        kept = torch.empty(len(best), dtype=torch.float64)
        kept[: len(old)] = old
        kept[free] = numbers[new]
        self._numbers[c] = kept

    def rows(self, c: int) -> Tensor:
        """Rows (m, D) of a class; (0, 0) where there was none."""
        kept = self._rows[c]
        if kept is None:
            return torch.zeros(0, 0, dtype=self.dtype)
        return kept[: len(self._numbers[c])]

    def rows_of_all_processes(self, c: int, width: int) -> Tensor:
        """Rows (m, D = ``width``) of a class, at most N of those of all processes.

        The rows of each process have the same chance, whichever had more of them. The
        first process gets them, and the others, which must call it too, none.
        """
        own = self._numbers[c]
        numbers = gather_rows(own)
        rows = self.rows(c).reshape(-1, width)
        if len(numbers) > self.size:
            rows = rows[own >= numbers.topk(self.size).values[-1]]
        return gather_rows_to_first(rows)
