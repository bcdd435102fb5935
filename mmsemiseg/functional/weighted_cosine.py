"""The positive-only contrast with a bank of each class."""

import torch
import torch.nn.functional as F
from torch import Tensor


def weighted_cosine(
    features: Tensor,
    group: Tensor,
    keys: Tensor,
    filled: Tensor,
    weights: Tensor | None = None,
    key_weights: Tensor | None = None,
) -> Tensor:
    r"""Mean weighted cosine distance of features and the keys of their class.

    .. math:: \frac1C \sum_c \frac{1}{MN} \sum_{i,j} w_i u_j (1 - \cos(p_i, z_j)),
              \quad w_i = \frac{M S_i}{\sum S}, \quad u_j = \frac{N S'_j}{\sum S'}

    Equations (8) to (11) of Alonso et al., ICCV 2021: for each of C classes the M
    features p_i and the N keys z_j of the class, weighted by w and u. As the weights
    have mean 1, the sum of a class is
    :math:`1 - \langle \mathrm{mean}_i\, w_i \hat p_i, \mathrm{mean}_j\, u_j \hat z_j
    \rangle` with vectors of unit length: there is no M x N matrix. All is computed in
    fp32 at least, also under autocast.

    Args:
        features: Features p (n, D).
        group: Class (n,) int64 of each feature; those outside of 0 to C - 1 are left
            out.
        keys: Keys z (C, N, D) of each class, detached by the caller if they shall not
            learn.
        filled: Mask (C, N) bool, True where there is a key.
        weights: Weights S > 0 of the features, (n,); None: all equal.
        key_weights: Weights S' > 0 of the keys, (C, N); None: all equal.

    Returns:
        A scalar. A class with fewer than two features or two keys adds 0, without
        gradient, and counts in C.
    """
    with torch.autocast(features.device.type, enabled=False):
        features, keys = _at_least_float(features), _at_least_float(keys)
        classes = len(keys)
        known = (group >= 0) & (group < classes)
        index = group.masked_fill(~known, classes)
        ones = torch.ones_like(features[:, 0])
        weights = ones if weights is None else weights.to(features.dtype)
        weights = torch.where(known, weights, 0)
        key_weights = ones.new_ones(()) if key_weights is None else key_weights
        key_weights = torch.where(filled, key_weights.to(keys.dtype), 0)
        key_weights = key_weights / _positive(key_weights.sum(1, keepdim=True))
        target = torch.bmm(key_weights[:, None], F.normalize(keys, dim=2))[:, 0]
        cosine = (features @ target.T).gather(1, group.where(known, 0)[:, None])[:, 0]
        cosine = cosine / _positive(torch.linalg.vector_norm(features, dim=1))

        def sums(values):
            return values.new_zeros(classes + 1).index_add(0, index, values)[:-1]

        mean = sums(weights * cosine) / _positive(sums(weights))
        enough = (sums(ones) > 1) & (filled.sum(1) > 1)
        return torch.where(enough, 1 - mean, 0).sum() / classes


def _positive(x: Tensor) -> Tensor:
    return x.clamp(min=torch.finfo(x.dtype).tiny)


def _at_least_float(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
