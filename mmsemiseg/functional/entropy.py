"""Entropy of the predicted classes."""

import math

import torch
from torch import Tensor

NORMS = ('classes', 'nats')
OVER = ('valid', 'all')


def entropy_loss(
    logits: Tensor,
    valid: Tensor | None = None,
    norm: str = 'classes',
    over: str = 'valid',
) -> Tensor:
    r"""Mean entropy of the predictions; the gradient flows through p and log p.

    .. math:: -\frac{1}{Z M} \sum_{i \in V} \sum_c p_{ic} \log p_{ic}

    p = softmax(logits), in fp32 at least. A pixel that is not valid has neither loss
    nor gradient.

    Args:
        logits: Logits (N, C, H, W), finite, C >= 2.
        valid: Mask V (N, H, W) bool of the valid pixels; None means all pixels.
        norm: Scale Z of a pixel's entropy: ``'classes'`` is log C, so that the loss is
            in [0, 1]; ``'nats'`` is 1.
        over: Number M of pixels that the sum is divided by: ``'valid'`` counts the
            valid ones, ``'all'`` all N * H * W.

    Returns:
        A scalar; a 0 attached to ``logits`` if no pixel is valid.

    Raises:
        ValueError: For one logit channel, a wrong shape, norm or ``over``.

    >>> logits = torch.tensor([[1.0, 50.0], [1.0, -50.0]]).view(1, 2, 1, 2)
    >>> entropy_loss(logits).item()  # of an even and of a certain pixel
    0.5
    >>> entropy_loss(logits, torch.tensor([[[True, False]]])).item()
    1.0
    """
    if norm not in NORMS:
        raise ValueError(f'norm must be one of {NORMS}, but got {norm!r}')
    if over not in OVER:
        raise ValueError(f'over must be one of {OVER}, but got {over!r}')
    if logits.dim() != 4 or logits.shape[1] < 2:
        raise ValueError(
            f'logits must be (N, C, H, W) with C >= 2, but got {tuple(logits.shape)}'
        )
    if valid is not None and valid.shape != logits[:, 0].shape:
        raise ValueError(
            'valid must have the shape (N, H, W) of the logits, '
            f'{tuple(logits[:, 0].shape)}, but got {tuple(valid.shape)}'
        )
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    log_probs = logits.log_softmax(1)
    entropy = -(log_probs.exp() * log_probs).sum(1)
    if valid is not None:
        entropy = torch.where(valid, entropy, 0)
    if valid is None or over == 'all':
        total = entropy.sum() / max(entropy.numel(), 1)
    else:
        total = entropy.sum() / valid.sum().clamp(min=1)
    return total / math.log(logits.shape[1]) if norm == 'classes' else total
