"""Floating point operations by part of a program, forward and backward.

A product counts two operations for each multiplication and addition: convolutions,
matrix products, attention. Other arithmetic counts by values, see `PER_VALUE`. What
only moves, compares or draws values counts nothing; `PartCounter.uncounted` names it.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

REST = 'rest'

# Operations for each value of the largest tensor that enters or comes out. Operators
# that PyTorch calls pointwise count one, unless they stand here.
PER_VALUE = {
    '_adaptive_avg_pool2d': 1,
    '_adaptive_avg_pool2d_backward': 1,
    '_log_softmax': 4,
    '_log_softmax_backward_data': 4,
    '_softmax': 4,
    '_softmax_backward_data': 4,
    'avg_pool2d': 1,
    'avg_pool2d_backward': 1,
    'cumsum': 1,
    'grid_sampler_2d': 12,
    'index_add': 1,
    'leaky_relu_backward': 1,
    'linalg_vector_norm': 2,
    'logsumexp': 3,
    'mean': 1,
    'native_batch_norm': 5,
    'native_batch_norm_backward': 8,
    'native_layer_norm': 5,
    'native_layer_norm_backward': 8,
    'scatter_add': 1,
    'scatter_reduce': 1,
    'softplus_backward': 4,
    'sum': 1,
    'upsample_bilinear2d': 7,
    'upsample_bilinear2d_backward': 8,
    'var_mean': 3,
}

# No arithmetic, though PyTorch calls some of them pointwise
COPIES = {
    '_to_copy',
    '_unsafe_view',
    'alias',
    'cat',
    'clone',
    'copy',
    'detach',
    'empty_like',
    'fill',
    'masked_fill',
    'new_empty',
    'new_full',
    'new_ones',
    'new_zeros',
    'ones_like',
    'set',
    'squeeze',
    'stack',
    'unsqueeze',
    'where',
    'zeros_like',
}


class Key(NamedTuple):
    part: str
    backward: bool
    product: bool  # False: other arithmetic


class PartCounter(TorchDispatchMode):
    """Counts what runs inside of it, for the part whose block is the innermost.

    The operations of a backward pass, if :meth:`backward` runs it, are those of the
    part in which the forward ran.

    Attributes:
        flops: :class:`Key` -> operations.
        uncounted: Operator -> calls that counted nothing although they make floats.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops: Counter[Key] = Counter()
        self.uncounted: Counter[str] = Counter()
        self._parts = [REST]
        self._starts = [-1]  # number of a node of the graph -> its part, by bisection
        self._owners = [REST]
        self._backward = False

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._enter(self._parts + [name])
        try:
            yield
        finally:
            self._enter(self._parts[:-1])

    @property
    def current(self) -> str:
        """The innermost part that is open."""
        return self._parts[-1]

    def _enter(self, parts: list[str]) -> None:
        self._parts = parts
        self._starts.append(_next_node())
        self._owners.append(parts[-1])

    def backward(self, loss: Tensor) -> None:
        for node in _graph(loss):
            owner = self._owners[bisect_right(self._starts, node._sequence_nr()) - 1]
            node.register_prehook(lambda grads, owner=owner: self._run(owner))
        self._backward = True
        with self.part(REST):
            loss.backward()
        self._backward = False

    def _run(self, owner: str) -> None:
        self._parts[-1] = owner

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func._overloadpacket.__name__
        name = name if name.startswith('__') else name.rstrip('_')
        product = name in PRODUCTS
        count = PRODUCTS[name](args, out) if product else _values(name, func, args, out)
        if count:
            self.flops[Key(self._parts[-1], self._backward, product)] += count
        elif count is None:
            self.uncounted[name] += 1
        return out


def _next_node() -> int:
    """Nodes of the graph are numbered in the order in which they are made."""
    with torch.enable_grad():
        return torch.zeros((), requires_grad=True).view(()).grad_fn._sequence_nr()


def _graph(loss: Tensor) -> Iterator:
    """The nodes behind a loss, but not those that only store a gradient."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [before for before, _ in node.next_functions]
            if node.next_functions:
                yield node


def _values(name: str, func, args, out) -> int | None:
    """Operations by values; 0 for copies and what makes no floats of floats."""
    inputs, outputs = _floats(args), _floats(out)
    if not inputs or not outputs or name in COPIES or getattr(func, 'is_view', False):
        return 0
    if name not in PER_VALUE and torch.Tag.pointwise not in func.tags:
        return None
    tensors = outputs + (inputs if name in PER_VALUE else [])
    return PER_VALUE.get(name, 1) * max(tensor.numel() for tensor in tensors)


def _floats(values) -> list[Tensor]:
    leaves = tree_leaves(values)
    return [x for x in leaves if isinstance(x, Tensor) and x.is_floating_point()]


# Products: (arguments, result) -> operations


def _matrices(a: Tensor, b: Tensor) -> int:
    """(..., m, k) x (..., k, n), or a vector for either."""
    return 2 * a.numel() * (b.shape[-1] if b.dim() > 1 else 1)


def _convolution(args, out) -> int:
    x, weight, transposed = args[0], args[1], args[6]
    return _convolved(x if transposed else out, weight)


def _convolved(grid: Tensor, weight: Tensor) -> int:
    """``grid``: the tensor of whose values each meets the whole filter."""
    return 2 * grid.numel() * weight[0].numel()


def _convolution_backward(args, out) -> int:
    grad, x, weight, transposed, wanted = args[0], args[1], args[2], args[7], args[10]
    return sum(wanted[:2]) * _convolved(x if transposed else grad, weight)


def _attention(args, out) -> int:
    query, key, value = args[:3]
    pairs = query[..., 0].numel() * key.shape[-2]
    return 2 * pairs * (query.shape[-1] + value.shape[-1])


def _attention_backward(args, out) -> int:
    """The scores once more, then gradients of values, weights, queries and keys."""
    query, key, value = args[1:4]
    pairs = query[..., 0].numel() * key.shape[-2]
    return 2 * pairs * (3 * query.shape[-1] + 2 * value.shape[-1])


PRODUCTS: dict[str, Callable] = {
    '_grouped_mm': lambda args, out: _matrices(args[0], args[1]),
    'addbmm': lambda args, out: _matrices(args[1], args[2]),
    'addmm': lambda args, out: _matrices(args[1], args[2]),
    'addmv': lambda args, out: _matrices(args[1], args[2]),
    'baddbmm': lambda args, out: _matrices(args[1], args[2]),
    'bmm': lambda args, out: _matrices(args[0], args[1]),
    'convolution': _convolution,
    'convolution_backward': _convolution_backward,
    'dot': lambda args, out: _matrices(args[0], args[1]),
    'mm': lambda args, out: _matrices(args[0], args[1]),
    'mv': lambda args, out: _matrices(args[0], args[1]),
}
for _kernel in ('flash', 'efficient', 'cudnn'):
    _name = f'_scaled_dot_product_{_kernel}_attention'
    for _device in ('', '_for_cpu'):
        PRODUCTS[_name + _device] = _attention
        PRODUCTS[f'{_name}{_device}_backward'] = _attention_backward
