"""Rows of all processes."""

import torch
import torch.distributed as torch_dist
from mmengine.dist import (
    all_gather,
    broadcast,
    get_comm_device,
    get_rank,
    get_world_size,
)
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """Gather rows (n_r, ...) of each process r: (sum of n_r, ...), by rank.

    The processes may have different numbers of rows, or none. All must call it.
    """
    if get_world_size() == 1:
        return rows
    counts = _counts(rows)
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = all_gather(padded) if max(counts) else [rows] * len(counts)
    return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])


def gather_rows_to_first(rows: Tensor) -> Tensor:
    """Gather rows (n_r, ...) of each process r on the first one alone, by rank.

    The others, which must call it too, get none of them, and need no memory for them.
    """
    if get_world_size() == 1:
        return rows
    counts, device = _counts(rows), get_comm_device()
    if get_rank() > 0:
        if len(rows):
            torch_dist.send(rows.to(device).contiguous(), 0)
        return rows[:0]
    parts = [rows]
    for rank, count in enumerate(counts):
        if rank > 0 and count > 0:
            part = rows.new_empty((count, *rows.shape[1:]), device=device)
            torch_dist.recv(part, rank)
            parts.append(part.to(rows.device))
    return torch.cat(parts)


def copy_from_first(*tensors: Tensor) -> None:
    """Overwrite tensors by those of the first process. All must call it."""
    if get_world_size() > 1:
        for tensor in tensors:
            values = tensor.to(torch.float32)  # some backends send no bool
            broadcast(values)
            tensor.copy_(values)


def _counts(rows: Tensor) -> list[int]:
    """Number of rows of each process."""
    counts = all_gather(torch.tensor([len(rows)], device=rows.device))
    return torch.cat(counts).tolist()
