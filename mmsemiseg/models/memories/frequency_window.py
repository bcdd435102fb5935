"""How often the classes occurred in the last batches."""

import torch
from torch import Tensor, nn

from ...utils.settings import check_choices, check_integers

KEEP = ('last', 'first')


class FrequencyWindow(nn.Module):
    """Pixels of each class in the last ``length`` batches, or in the first ones.

    All of its state is in the checkpoint. No method waits for the device.

    Args:
        length: Number of batches whose counts are kept, those of all processes
            together. None: not known yet; :meth:`set_length` or a checkpoint tells it.
        num_classes: Number of classes C.
        keep: Batches whose counts are kept: the ``'last'`` ones, where a new one
            replaces the oldest, or the ``'first'`` ones, after which none enters.

    Attributes:
        counts: Pixels of each class, (length, C) int64, 0 where there is no batch yet.
        pointer: Index of the next batch, () int64; ``length`` if nothing more enters.
        filled: Number of batches that are kept, () int64.

    Raises:
        ValueError: A setting, or what is entered, is wrong.

    >>> window = FrequencyWindow(length=2, num_classes=2)
    >>> window.enqueue(torch.tensor([[5, 1]]))
    >>> window.total().tolist(), window.full().item()
    ([5, 1], False)
    >>> window.enqueue(torch.tensor([[2, 0], [0, 3]]))
    >>> window.total().tolist(), window.full().item()
    ([2, 3], True)
    """

    def __init__(self, length: int | None, num_classes: int, keep: str = 'last'):
        super().__init__()
        check_integers(1, length=1 if length is None else length)
        check_integers(1, num_classes=num_classes)
        check_choices(keep=(keep, KEEP))
        self.keep = keep
        self.length = length
        self.num_classes = num_classes
        counts = torch.zeros(length or 0, num_classes, dtype=torch.int64)
        self.register_buffer('counts', counts)
        self.register_buffer('pointer', torch.zeros((), dtype=torch.int64))
        self.register_buffer('filled', torch.zeros((), dtype=torch.int64))

    def set_length(self, length: int) -> None:
        """Keep ``length`` batches from now on; another length empties the window."""
        check_integers(1, length=length)
        if length != self.length:
            self.length = length
            self.counts = self.counts.new_zeros(length, self.num_classes)
            self.pointer.zero_()
            self.filled.zero_()

    def preview(self, rows: Tensor) -> 'FrequencyWindow':
        """The window as it will be after :meth:`enqueue`; this one stays as it is."""
        window = FrequencyWindow(self.length, self.num_classes, self.keep)
        for name, value in self.named_buffers():
            setattr(window, name, value.clone())
        window.enqueue(rows)
        return window

    @torch.no_grad()
    def enqueue(self, rows: Tensor) -> None:
        """Enter integer counts (n, C), a row for each batch, in their order.

        n may be 0. Of more than ``length`` rows the last are kept, with
        ``keep='first'`` the first.
        """
        if rows.dim() != 2 or rows.shape[1] != self.num_classes:
            raise ValueError(
                f'rows must be (n, {self.num_classes}), but got {tuple(rows.shape)}'
            )
        if rows.is_floating_point():
            raise ValueError(f'rows must be integers, but got {rows.dtype}')
        first = self.keep == 'first'
        rows = rows[: self.length] if first else rows[-self.length :]
        rows = rows.to(self.counts.dtype)
        number = len(rows)
        place = torch.arange(number, device=self.pointer.device) + self.pointer
        if first:  # what has no place goes into a row that is dropped
            wider = torch.cat([self.counts, self.counts[:1]])
            wider.index_copy_(0, place.clamp(max=self.length), rows)
            self.counts.copy_(wider[:-1])
            self.pointer.add_(number).clamp_(max=self.length)
        else:
            self.counts.index_copy_(0, place % self.length, rows)
            self.pointer.add_(number).remainder_(self.length)
        self.filled.add_(number).clamp_(max=self.length)

    def total(self) -> Tensor:
        """Sum over the batches that are kept, (C,) int64."""
        return self.counts.sum(0)

    def full(self) -> Tensor:
        """Whether ``length`` batches are kept, () bool."""
        return self.filled == self.length

    def _load_from_state_dict(self, state: dict, prefix: str, *args) -> None:
        counts = state.get(f'{prefix}counts')
        if self.length is None and counts is not None and len(counts):
            self.set_length(len(counts))
        super()._load_from_state_dict(state, prefix, *args)

    def extra_repr(self) -> str:
        return (
            f'length={self.length}, num_classes={self.num_classes}, keep={self.keep!r}'
        )
