r"""Logsumexp over the keys of other groups, with memory for its inputs alone.

The sum over masked keys is an attention: with queries q, keys k and values k

.. math:: \mathrm{LSE}_i = \log\sum_{j: g_j \ne h_i} e^{q_i \cdot k_j},\qquad
    \frac{\partial \mathrm{LSE}_i}{\partial q_i} = \sum_j \mathrm{softmax}_{ij} k_j

so a fused attention kernel returns value and gradient without an anchors x keys matrix.
The mask enters as one more column per group: a large negative number in the query,
one in the keys of that group.
"""

import warnings
from functools import lru_cache

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

MASKED = -1e6  # added to the logit of a masked key; far below any logit
ALIGNED = 8  # numbers in a row are a multiple of it: 16 bytes or more for every type
ANCHORS_PER_CHUNK = 1024
KEYS_PER_CHUNK = 8192
WIDE = 1536  # from there on plain products are faster on a CPU than its kernel


def group_logsumexp(
    anchors: Tensor,
    keys: Tensor,
    anchor_group: Tensor,
    key_group: Tensor,
    num_groups: int,
    temperature: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """``log sum_j exp(anchors_i . keys_j / temperature)`` over keys of other groups.

    In fp32 (float64 for float64 inputs), also under autocast. Gradients flow to the
    anchors, and to the keys if they require one.

    Args:
        anchors: Embeddings (A, D) of the anchors.
        keys: Embeddings (K, D) of the keys.
        anchor_group: Group (A,) int64 of each anchor; keys of the same group are left
            out. An anchor with a number outside of 0 to ``num_groups`` - 1 has none in
            common with any key.
        key_group: Group (K,) int64 of each key. A key with a number outside of this
            range is left out for every anchor.
        num_groups: Number of groups G.
        temperature: Temperature > 0 that the logits are divided by.
        backend: Implementation: ``'attention'``, the fused kernel, or ``'chunked'``,
            plain PyTorch; None takes the kernel where there is one for the device and
            it is faster.

    Returns:
        (A,); -inf, with a gradient of 0, for an anchor without any key.
    """
    _check(anchors, keys, anchor_group, key_group, num_groups, temperature)
    with torch.autocast(anchors.device.type, enabled=False):
        anchors, keys = _same_type(anchors, keys)
        if len(anchors) == 0 or len(keys) == 0:
            return anchors.sum(1) * 0 - torch.inf
        columns = _group_columns(anchor_group, key_group, num_groups)
        if backend is None:
            plain = anchors.device.type == 'cpu' and anchors.shape[1] >= WIDE
            found = _backend(anchors.device.type, anchors.dtype)
            backend = 'chunked' if plain else found
        return _LogSumExp.apply(anchors, keys, *columns, temperature, backend)


def _check(anchors, keys, anchor_group, key_group, num_groups, temperature) -> None:
    if anchors.dim() != 2 or keys.dim() != 2 or anchors.shape[1] != keys.shape[1]:
        raise ValueError(
            'anchors and keys must be (A, D) and (K, D), but got '
            f'{tuple(anchors.shape)} and {tuple(keys.shape)}'
        )
    for name, rows, group in (
        ('anchor', anchors, anchor_group),
        ('key', keys, key_group),
    ):
        if group.shape != rows.shape[:1]:
            raise ValueError(
                f'{name}_group must be ({len(rows)},), but got {tuple(group.shape)}'
            )
    if num_groups < 1:
        raise ValueError(f'num_groups must be at least 1, but got {num_groups}')
    if not temperature > 0:
        raise ValueError(f'temperature must be > 0, but got {temperature}')


def _same_type(anchors: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    double = torch.float64 in (anchors.dtype, keys.dtype)
    dtype = torch.float64 if double else torch.float32
    return anchors.to(dtype), keys.to(dtype)


def _group_columns(
    anchor_group: Tensor, key_group: Tensor, num_groups: int
) -> tuple[Tensor, Tensor]:
    """Bool (A, G + 1) and (K, G + 1): a key is masked where both have a True."""
    groups = torch.arange(num_groups + 1, device=key_group.device)
    never = num_groups  # the last column masks for every anchor
    known = (key_group >= 0) & (key_group < num_groups)
    key_columns = key_group.masked_fill(~known, never).unsqueeze(1) == groups
    anchor_columns = (anchor_group.unsqueeze(1) == groups) | (groups == never)
    return anchor_columns, key_columns


def _widened(rows: Tensor, columns: Tensor, divisor: float = 1.0) -> Tensor:
    """Both side by side, then zeros up to an aligned width, without other copies."""
    dim, width = rows.shape[1], rows.shape[1] + columns.shape[1]
    wide = rows.new_empty(len(rows), width + -width % ALIGNED)
    torch.div(rows, divisor, out=wide[:, :dim])
    wide[:, dim:width] = columns
    wide[:, width:].zero_()
    return wide


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchors, keys, anchor_columns, key_columns, temperature, backend):
        dim, width = anchors.shape[1], anchors.shape[1] + anchor_columns.shape[1]
        query = _widened(anchors, anchor_columns, temperature)
        key = _widened(keys, key_columns)
        query[:, dim:width] *= MASKED
        mean, lse = ATTENTION[backend](query, key)
        empty = lse < MASKED / 2
        mean.masked_fill_(empty[:, None], 0)
        ctx.dim, ctx.temperature, ctx.backend = dim, temperature, backend
        saved = [mean]
        if ctx.needs_input_grad[1]:
            saved += [query, key, lse, empty]
        ctx.save_for_backward(*saved)
        return lse.masked_fill(empty, -torch.inf)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        mean, *saved = ctx.saved_tensors
        dim = ctx.dim
        grad_anchors = grad_keys = None
        if ctx.needs_input_grad[0]:
            grad_anchors = mean[:, :dim] * (grad / ctx.temperature)[:, None]
        if saved:
            query, key, lse, empty = saved
            # d LSE_i / d k_j = softmax_ij q_i, which is how values get their gradient
            weighted = query * grad.masked_fill(empty, 0)[:, None]
            weighted[:, dim:] = 0
            gradient = VALUE_GRADIENT[ctx.backend]
            grad_keys = gradient(weighted, query, key, mean, lse)[:, :dim]
        return grad_anchors, grad_keys, None, None, None, None


# Backends. Attention: (A, E), (K, E) -> softmax(q k') k (A, E) and its logsumexp (A,);
# value gradient: softmax(q k')' grad (K, E). E is aligned.


@lru_cache
def _backend(device: str, dtype: torch.dtype) -> str:
    """The fused kernel where it is there and agrees with plain PyTorch."""
    if device not in ('cpu', 'cuda'):
        return 'chunked'
    generator = torch.Generator().manual_seed(0)
    query, key = (
        torch.randn(n, 40, generator=generator, dtype=dtype).to(device) for n in (5, 7)
    )
    try:
        found = _attention(query, key)
        if all(
            torch.allclose(a, b, atol=1e-2, rtol=1e-2)
            for a, b in zip(found, _chunked_attention(query, key), strict=True)
        ):
            return 'attention'
        reason = 'it gives other values'
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).split('\n')[0]
    warnings.warn(
        f'the fused attention kernel of PyTorch {torch.__version__} for {device} and '
        f'{dtype} cannot be used ({reason}); the slower plain form is taken',
        stacklevel=3,
    )
    return 'chunked'


def _attention(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    if query.device.type == 'cuda':
        return _cuda_attention(query, key)
    op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    query, key = query[None, None], key[None, None]
    mean, lse = op(query, key, key, scale=1.0)[:2]
    return mean[0, 0], lse.reshape(-1)


def _cuda_attention(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    op = torch.ops.aten._scaled_dot_product_efficient_attention
    query, key = query[None, None], key[None, None]
    mean, lse = op(query, key, key, None, True, scale=1.0)[:2]
    return mean[0, 0], lse[0, 0, : query.shape[2]]


def _attention_value_gradient(grad, query, key, mean, lse) -> Tensor:
    if query.device.type == 'cuda':
        return _chunked_value_gradient(grad, query, key, mean, lse)
    op = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    grad, query, key, mean = (x[None, None] for x in (grad, query, key, mean))
    lse = lse.reshape(1, 1, -1)
    return op(grad, query, key, key, mean, lse, 0.0, False, scale=1.0)[2][0, 0]


def _chunked_attention(query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
    """Attention in plain PyTorch: a running maximum and sums, chunk by chunk."""
    mean, lse = torch.empty_like(query), query.new_empty(len(query))
    outputs = (x.split(ANCHORS_PER_CHUNK) for x in (query, mean, lse))
    for rows, out, norm in zip(*outputs, strict=True):
        top = total = None
        for part in key.split(KEYS_PER_CHUNK):
            logits = rows @ part.T
            new_top = logits.amax(1, keepdim=True)
            new_top = new_top if top is None else top.maximum(new_top)
            weights = logits.sub_(new_top).exp_()
            if top is None:
                total = weights.sum(1, keepdim=True)
                torch.mm(weights, part, out=out)
            else:
                shrink = (top - new_top).exp_()
                total = total.mul_(shrink).add_(weights.sum(1, keepdim=True))
                out.mul_(shrink).addmm_(weights, part)
            top = new_top
        out.div_(total)
        torch.add(top[:, 0], total[:, 0].log(), out=norm)
    return mean, lse


def _chunked_value_gradient(grad, query, key, mean, lse) -> Tensor:
    total = torch.zeros_like(key)
    for rows, out, norm in zip(
        query.split(ANCHORS_PER_CHUNK),
        grad.split(ANCHORS_PER_CHUNK),
        lse.split(ANCHORS_PER_CHUNK),
        strict=True,
    ):
        parts = key.split(KEYS_PER_CHUNK)
        for part, slot in zip(parts, total.split(KEYS_PER_CHUNK), strict=True):
            weights = (rows @ part.T).sub_(norm[:, None]).exp_()
            slot += weights.T @ out
    return total


ATTENTION = dict(attention=_attention, chunked=_chunked_attention)
VALUE_GRADIENT = dict(
    attention=_attention_value_gradient, chunked=_chunked_value_gradient
)
