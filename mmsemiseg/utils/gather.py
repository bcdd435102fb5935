"""Rows of all processes."""

import torch
from mmengine.dist import all_gather, get_world_size
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """Gather rows (n_r, ...) of each process r: (sum of n_r, ...), by rank.

    The processes may have different numbers of rows, or none. All must call it.
    """
    if get_world_size() == 1:
        return rows
    counts = all_gather(torch.tensor([len(rows)], device=rows.device))
    counts = torch.cat(counts).tolist()
    padded = rows.new_zeros((max(counts), *rows.shape[1:]))
    padded[: len(rows)] = rows
    parts = all_gather(padded) if max(counts) else [rows] * len(counts)
    return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])
