"""Whether what a checkpoint holds is still made of numbers."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """Names of the tensors with a NaN or an infinity; waits once for each device.

    Buffers whose name ends in ``mask`` may hold infinities: attention masks do.

    >>> not_finite(dict(a=torch.ones(2), b=torch.tensor([1, float('nan')])))
    ['b']
    """
    by_device: dict[torch.device, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.numel():
            by_device.setdefault(tensor.device, {})[name] = tensor
    broken: set[str] = set()
    for found in by_device.values():
        good = torch.stack([_is_good(name, value) for name, value in found.items()])
        broken |= {n for n, ok in zip(found, good.tolist(), strict=True) if not ok}
    return [name for name in tensors if name in broken]


def _is_good(name: str, tensor: Tensor) -> Tensor:
    if name.endswith('mask'):
        return ~tensor.isnan().any()
    return tensor.isfinite().all()


def describe_broken(checkpoint: Mapping[str, Any]) -> str:
    """Names what is not finite in weights, buffers and optimizer; '' if all is."""
    parts = {name: checkpoint.get(name) for name in ('state_dict', 'optimizer')}
    tensors = dict(_named(parts['state_dict'], ''))
    tensors |= dict(_named(parts['optimizer'], 'optimizer'))
    names = not_finite(tensors)
    if not names:
        return ''
    listed = ', '.join(names[:3])
    more = f' and {len(names) - 3} more' if len(names) > 3 else ''
    are = 'is' if len(names) == 1 else 'are'
    return f'{listed}{more} {are} not finite (NaN or infinite)'


def _named(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested dicts and lists, by its place."""
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, (Mapping, list, tuple)):
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, item in items:
            yield from _named(item, f'{place}.{key}' if place else str(key))
