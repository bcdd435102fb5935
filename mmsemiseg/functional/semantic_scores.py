"""Scores and logits of pixels from the masks that queries classify."""

import torch
from torch import Tensor

# Added to every score: a class that no query has keeps a finite gradient
FLOOR = 1e-6


def semantic_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    r"""Semantic inference: :math:`s_c(x) = \sum_q p_q(c)\, \sigma(m_q(x))`.

    :math:`p_q` is the softmax of a query's class logits over all classes and "no
    object"; the share of "no object" is left out. A score is at least 0; where
    several queries have one class it can be above 1. In fp32.

    Args:
        class_logits: (N, Q, C + 1) of the queries; the last one is "no object".
        mask_logits: (N, Q, h, w) of the queries' masks.

    Returns:
        (N, C, h, w) float32.

    >>> classes = torch.tensor([[[0., 0., 0.], [9., 0., 0.]]])
    >>> masks = torch.tensor([[[[9.]], [[-9.]]]])
    >>> semantic_scores(classes, masks)[0, :, 0, 0].round(decimals=3).tolist()
    [0.333, 0.333]
    """
    with torch.autocast(mask_logits.device.type, enabled=False):
        probs = class_logits.float().softmax(-1)[..., :-1]
        masks = mask_logits.float().sigmoid()
        return torch.einsum('nqc,nqhw->nchw', probs, masks)


def score_logits(scores: Tensor) -> Tensor:
    r"""Logits :math:`z_c = \log(s_c + 10^{-6})` of scores that are at least 0.

    Their softmax is the scores divided by their sum over the classes, so that argmax,
    confidence and cross entropy of these logits are those of normalised scores.

    >>> score_logits(torch.tensor([[0.1, 0.3]])).softmax(1)[0].tolist()
    [0.25, 0.75]
    """
    return (scores.float() + FLOOR).log()
