"""Class activation maps and the masks that thresholds make of them."""

import torch
from torch import Tensor


def normalised_cam(scores: Tensor, present: Tensor) -> Tensor:
    """Positive part of each map over its maximum, in [0, 1]; 0 for absent classes.

    Args:
        scores: Class scores (N, C, H, W) of each pixel.
        present: Tags (N, C) bool of the images: which classes they show.
    """
    maps = scores.clamp_min(0) * present[..., None, None]
    highest = maps.amax((2, 3), keepdim=True)
    return maps / torch.where(highest > 0, highest, 1)


def cam_masks(
    cam: Tensor,
    labels: Tensor,
    foreground: float = 0.3,
    background: float = 0.05,
    background_label: int | None = 0,
    ignore_index: int = 255,
) -> Tensor:
    """Label of the strongest map of each pixel, (N, H, W) int64.

    A pixel whose strongest map is above ``foreground`` gets its label, one below
    ``background`` gets ``background_label``, all others ``ignore_index``.

    Args:
        cam: Activations (N, C, H, W) in [0, 1].
        labels: Label (C,) of each map.
        background_label: Label of background pixels; None where there is no such class:
            ``ignore_index``.

    >>> cam = torch.tensor([0.9, 0.3, 0.05, 0.04]).view(1, 1, 1, 4)
    >>> cam_masks(cam, torch.tensor([7])).tolist()
    [[[7, 255, 255, 0]]]
    """
    if not 0 <= background <= foreground <= 1:
        raise ValueError(
            'thresholds must be 0 <= background <= foreground <= 1, but got '
            f'background={background}, foreground={foreground}'
        )
    strongest, index = cam.max(1)
    mask = labels.to(cam.device)[index].long()
    mask = torch.where(strongest > foreground, mask, ignore_index)
    if background_label is not None:
        mask = torch.where(strongest < background, background_label, mask)
    return mask
