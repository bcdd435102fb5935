"""Two-layer perceptrons, one for each class, over rows of many classes."""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from .compact import can_drop_rows


def class_attention(
    rows: Tensor,
    filled: Tensor,
    group: Tensor | None,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    out: Tensor,
    statistics: tuple[Tensor, Tensor] | None = None,
    eps: float = 1e-5,
    slope: float = 0.2,
    overwrite: bool = False,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""One number for each row, from the perceptron of its class.

    .. math:: s = v_c \cdot \mathrm{LeakyReLU}(\mathrm{BN}_c(W_c x))

    BN_c is BatchNorm over the rows of class c, so a bias of the first layer would have
    no effect. No gradient goes to the rows. All is computed in the precision of W, also
    under autocast.

    Args:
        rows: Rows (L, T, D) in tiles of one class each, the classes ascend.
        filled: Mask (L, T) bool, True where there is a row.
        group: Class (L,) int64 of each tile; None: tile c is of class c, L = C.
        weight: Weights W of the first layers, (C, D, H).
        scale, shift: Scale and shift of BatchNorm, (C, H) each.
        out: Weights v of the last layers, (C, H).
        statistics: Mean and variance to normalise with, (C, H) each; None: those of the
            rows of each class.
        eps: Small number added to the variance.
        slope: Negative slope of the LeakyReLU.
        overwrite: Whether ``rows`` may be overwritten.

    Returns:
        The numbers s (L, T), without meaning where there is no row. Then what running
        statistics need, without gradient: the number of rows (C,), and the mean and the
        biased variance (C, H) of the rows after the first layer; zeros where
        ``statistics`` are given.
    """
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.detach().to(weight.dtype)
        count = _class_sums(filled.sum(1).to(rows), group, len(weight))
        if statistics is not None:
            hidden = _product(rows, group, weight)
            mean, variance = statistics
            factor = scale * (variance + eps).rsqrt()
            offset = shift - mean * factor
            hidden = torch.addcmul(_of(offset, group), hidden, _of(factor, group))
            hidden = F.leaky_relu(hidden, slope)
            scores = torch.bmm(hidden, _of(out, group).transpose(1, 2))[..., 0]
            nothing = torch.zeros_like(shift)
            return scores, count, nothing, nothing
        sums = torch.bmm(filled.to(rows)[:, None], rows)[:, 0]
        mean = _class_sums(sums, group, len(weight)) / count.clamp(min=1)[:, None]
        # Centred rows have a centred image: one pass less, and no cancellation
        rows = rows if overwrite else rows.clone()
        _clear_(rows.sub_(_of(mean, group)), ~filled)
        scores, variance = _Attention.apply(
            rows, filled, group, count, weight, scale, shift, out, eps, slope
        )
        with torch.no_grad():
            mean = torch.bmm(mean[:, None], weight)[:, 0]
        return scores, count, mean, variance


class _Attention(torch.autograd.Function):
    """Attention of centred rows; keeps the hidden layer, computes the rest in place.

    With h = W x, r = 1 / sqrt(var + eps) and y = LeakyReLU(scale r h + shift):
    dh = scale r (da - r^2 h mean(da h)), where the mean of da drops out of
    dW = sum x dh since the rows sum to 0.
    """

    @staticmethod
    def forward(ctx, rows, filled, group, count, weight, scale, shift, out, eps, slope):
        hidden = _product(rows, group, weight)
        squares = (hidden * hidden).sum(1)
        number = count.clamp(min=1)[:, None]
        variance = _class_sums(squares, group, len(weight)) / number
        inverse = (variance + eps).rsqrt()
        active = torch.addcmul(_of(shift, group), hidden, _of(scale * inverse, group))
        F.leaky_relu_(active, slope)
        ctx.save_for_backward(
            rows, filled, group, number, weight, scale, out, hidden, active, inverse
        )
        ctx.slope = slope
        ctx.mark_non_differentiable(variance)
        return torch.bmm(active, _of(out, group).transpose(1, 2))[..., 0], variance

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, _):
        saved = ctx.saved_tensors
        rows, filled, group, number, weight, scale, out, hidden, active, inverse = saved
        classes = len(weight)
        grad = grad * filled
        d_out = _class_sums(torch.bmm(grad[:, None], active)[:, 0], group, classes)
        grad = grad[..., None]
        # da = v times this; v is of a class, and comes in where sums are by class
        inner = torch.ops.aten.leaky_relu_backward(grad, active, ctx.slope, True)
        d_shift = out * _class_sums(inner.sum(1), group, classes)
        product = out * _class_sums((inner * hidden).sum(1), group, classes)
        factor = scale * inverse
        along = factor * inverse.square() * product / number
        d_hidden = inner.mul_(_of(factor * out, group))
        d_hidden.addcmul_(hidden, _of(along, group), value=-1)
        d_weight = _outer(rows, group, d_hidden, classes)
        d_scale = inverse * product
        return None, None, None, None, d_weight, d_scale, d_shift, d_out, None, None


def _clear_(rows: Tensor, empty: Tensor) -> None:
    """Zeros where (L, T) empty; only these are written if it waits for no device."""
    if can_drop_rows(rows):
        rows.flatten(0, 1).index_fill_(0, empty.flatten().nonzero()[:, 0], 0)
    else:
        rows.masked_fill_(empty[..., None], 0)


def _of(values: Tensor, group: Tensor | None) -> Tensor:
    """(C, H) -> (L, 1, H)."""
    return (values if group is None else values[group])[:, None]


def _class_sums(values: Tensor, group: Tensor | None, classes: int) -> Tensor:
    """(L, ...) -> (C, ...)."""
    if group is None:
        return values
    numbers = torch.arange(classes, device=group.device)
    belongs = (group == numbers[:, None]).to(values)  # few tiles: a product is quick
    sums = belongs @ values.view(len(values), -1)
    return sums.view(classes, *values.shape[1:])


def _product(rows: Tensor, group: Tensor | None, weight: Tensor) -> Tensor:
    """(L, T, D) rows by the (D, H) weights of their class -> (L, T, H)."""
    if group is None:
        return torch.bmm(rows, weight)
    if not _is_grouped(rows, weight):
        return torch.bmm(rows, weight[group])
    ends = _ends(group, len(weight), rows.shape[1])
    flat = F.grouped_mm(rows.flatten(0, 1), weight, offs=ends)
    return flat.unflatten(0, rows.shape[:2])


def _outer(rows: Tensor, group: Tensor | None, grad: Tensor, classes: int) -> Tensor:
    """Sum of row x grad over the rows of each class -> (C, D, H)."""
    if group is None:
        return torch.bmm(rows.transpose(1, 2), grad)
    if not _is_grouped(rows, grad):
        return _class_sums(torch.bmm(rows.transpose(1, 2), grad), group, classes)
    ends = _ends(group, classes, rows.shape[1])
    return F.grouped_mm(rows.flatten(0, 1).t(), grad.flatten(0, 1), offs=ends)


def _ends(group: Tensor, classes: int, height: int) -> Tensor:
    """Row behind the last one of each class; all tiles belong to some class."""
    numbers = torch.arange(classes, device=group.device)
    return (torch.searchsorted(group, numbers, right=True) * height).int()


def _is_grouped(*tensors: Tensor) -> bool:
    """Whether PyTorch's grouped product takes these, whose rows it wants aligned."""
    aligned = all(x.shape[-1] * x.element_size() % 16 == 0 for x in tensors)
    return aligned and _has_grouped(tensors[0].device, tensors[0].dtype)


@cache
def _has_grouped(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether PyTorch has a product of ragged groups that is right for these."""
    if not hasattr(F, 'grouped_mm'):
        return False
    rows = torch.arange(64.0, device=device).view(4, 16).to(dtype)
    weight = torch.stack([torch.eye(16), 2 * torch.eye(16)]).to(rows)
    ends = torch.tensor([1, 4], dtype=torch.int32, device=device)
    factor = torch.tensor([1, 2, 2, 2], device=device, dtype=dtype)[:, None]
    try:
        product = F.grouped_mm(rows, weight, offs=ends)
        outer = F.grouped_mm(rows.t(), rows, offs=ends)
    except (RuntimeError, NotImplementedError, ValueError):
        return False
    expected = torch.stack([rows[:1].t() @ rows[:1], rows[1:].t() @ rows[1:]])
    return torch.equal(product, rows * factor) and torch.allclose(outer, expected)
