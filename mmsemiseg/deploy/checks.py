"""Whether a written network says what the network itself says."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

TOLERANCE = 1e-3  # of the range of the logits


class Agreement(NamedTuple):
    """What two runs of a network on an image have in common.

    Attributes:
        pixels: Share of the pixels with equal classes.
        difference: Largest difference of logits; None where only classes are known.
        wrong: Share of the pixels whose class, or logits, differ by more than
            rounding explains.
    """

    pixels: float
    difference: float | None
    wrong: float


def agreement(found: np.ndarray, logits: Tensor, threshold: float = 0.5) -> Agreement:
    """Compare classes (N, H, W) or logits (N, C, H, W) with the network's logits.

    A class may differ where the two best logits are as near as rounding errors are.

    Args:
        threshold: Probability above which a single channel means class 1.

    Example:
        >>> logits = torch.tensor([[0.0, 1.0], [5.0, 1.0001]]).view(1, 2, 1, 2)
        >>> agreement(np.array([[[1, 0]]]), logits)
        Agreement(pixels=0.5, difference=None, wrong=0.0)
        >>> agreement(np.array([[[0, 0]]]), logits)
        Agreement(pixels=0.0, difference=None, wrong=0.5)
    """
    tolerance = TOLERANCE * max(float(logits.max() - logits.min()), 1e-6)
    found = torch.from_numpy(np.asarray(found))
    expected, margin = _classes(logits, threshold)
    if found.ndim == 4:
        if found.shape != logits.shape:
            return Agreement(0.0, None, 1.0)
        gaps = (found - logits).abs().amax(1)
        equal = _classes(found, threshold)[0] == expected
        wrong = ~(gaps <= tolerance)  # a NaN is wrong, too
        return Agreement(_share(equal), float(gaps.max()), _share(wrong))
    if found.shape != expected.shape:
        return Agreement(0.0, None, 1.0)
    differs = found != expected
    return Agreement(_share(~differs), None, _share(differs & ~(margin <= tolerance)))


def _classes(logits: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Classes, and how far another one is."""
    if logits.shape[1] == 1:
        border = torch.tensor(threshold).logit()
        return (logits[:, 0] > border).long(), (logits[:, 0] - border).abs()
    best = logits.topk(2, dim=1).values
    return logits.argmax(1), best[:, 0] - best[:, 1]


def _share(pixels: Tensor) -> float:
    return pixels.double().mean().item()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A generated RGB image (height, width, 3) of soft and of sharp spots."""
    generator = torch.Generator().manual_seed(seed)
    soft, sharp = (
        torch.rand(1, 3, *cells, generator=generator) for cells in ((5, 7), (12, 17))
    )
    size = height, width
    mixed = interpolate(soft, size, mode='bilinear') + interpolate(sharp, size) / 2
    return (mixed[0] / 1.5 * 255).byte().permute(1, 2, 0).numpy()
