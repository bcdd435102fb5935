"""Scores and logits of pixels from the masks that queries classify."""

import torch
from torch import Tensor

# Added to every probability: one of a class that no query has keeps a finite gradient
FLOOR = 1e-6


def semantic_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    r"""Semantic inference: :math:`s_c(x) = \sum_q p_q(c)\, \sigma(m_q(x))`.

    :math:`p_q` is the softmax of a query's class logits over all classes and "no
    object"; the share of "no object" is left out. A score is at least 0; where
    several queries have one class it can be above 1. In fp32.

    Args:
        class_logits: Class logits (N, Q, C + 1) of the queries; the last one is "no
            object".
        mask_logits: Mask logits (N, Q, h, w) of the queries.

    Returns:
        (N, C, h, w) float32.

    >>> classes = torch.tensor([[[0., 0., 0.], [9., 0., 0.]]])
    >>> masks = torch.tensor([[[[9.]], [[-9.]]]])
    >>> semantic_scores(classes, masks)[0, :, 0, 0]
    tensor([0.3334, 0.3333])
    """
    with torch.autocast(mask_logits.device.type, enabled=False):
        probs = class_logits.float().softmax(-1)[..., :-1]
        masks = mask_logits.float().sigmoid()
        return torch.einsum('nqc,nqhw->nchw', probs, masks)


def score_logits(scores: Tensor) -> Tensor:
    r"""Logits :math:`z_c = \log(p_c + 10^{-6})` of scores that are at least 0.

    :math:`p_c = (s_c + u / C) / (\sum_k s_k + u)` with the share
    :math:`u = \max(0, 1 - \sum_k s_k)` of a pixel that no query claims: it is spread
    over all classes. The softmax of the logits is p, so argmax, confidence and cross
    entropy of the logits are those of p.

    >>> score_logits(torch.tensor([[0.5, 0.1], [2.0, 6.0]])).softmax(1)
    tensor([[0.7000, 0.3000],
            [0.2500, 0.7500]])
    """
    scores = scores.float()
    total = scores.sum(1, keepdim=True)
    unclaimed = (1 - total).clamp_min(0)
    probs = (scores + unclaimed / scores.shape[1]) / (total + unclaimed)
    return (probs + FLOOR).log()
