"""Fewer parameter groups, so that an optimizer step starts fewer kernels."""

from torch.optim import Optimizer

MOST_NAMED = 6  # groups that a line names one by one


def merge_equal_groups(optimizer: Optimizer) -> None:
    """Put the parameters of groups with equal settings into the first of them.

    With ``paramwise_cfg`` MMEngine makes a group of each parameter, and an optimizer
    steps group by group. What is computed stays. For an optimizer without state, so
    before its first step. One that wraps another and keeps its groups beside those of
    that one, as ``ZeroRedundancyOptimizer`` does, stays as it is.
    """
    if isinstance(getattr(optimizer, 'optim', None), Optimizer):
        return
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


def describe_groups(optimizer: Optimizer) -> str:
    """One line with the learning rates and weight decays of several groups.

    >>> from torch import empty, optim
    >>> groups = [dict(params=[empty(2, 3)], lr=0.1), dict(params=[empty(2)])]
    >>> describe_groups(optim.SGD(groups, lr=1.0, weight_decay=0.01))
    'learning rates: 0.1 for 6 weights, 1 for 2 weights; weight decay 0.01'
    """
    groups = optimizer.param_groups
    decays = sorted({group.get('weight_decay', 0) for group in groups})
    if len(groups) > MOST_NAMED:
        rates = [group['lr'] for group in groups]
        text = f'{min(rates):g} to {max(rates):g} in {len(groups)} groups'
    else:
        counts = [sum(p.numel() for p in group['params']) for group in groups]
        text = ', '.join(
            f'{group["lr"]:g} for {count:,} weights'.replace(',', ' ')
            for group, count in zip(groups, counts, strict=True)
        )
    return f'learning rates: {text}; weight decay {_spread(decays)}'


def _spread(values: list[float]) -> str:
    ends = [f'{value:g}' for value in (values[0], values[-1])]
    return ' to '.join(dict.fromkeys(ends))
