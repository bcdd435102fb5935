"""Fewer parameter groups, so that an optimizer step starts fewer kernels."""

from torch.optim import Optimizer


def merge_equal_groups(optimizer: Optimizer) -> None:
    """Put the parameters of groups with equal settings into the first of them.

    With ``paramwise_cfg`` MMEngine makes a group of each parameter, and an optimizer
    steps group by group. What is computed stays. For an optimizer without state, so
    before its first step.
    """
    merged: list[tuple[dict, dict]] = []
    for group in optimizer.param_groups:
        settings = {key: value for key, value in group.items() if key != 'params'}
        for known, first in merged:
            if known == settings:
                first['params'].extend(group['params'])
                break
        else:
            merged.append((settings, group))
    optimizer.param_groups[:] = [group for _, group in merged]
