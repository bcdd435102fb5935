"""Parts of a class: which prototype of its class a cell is nearest to."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .cells import logits_at_cells


@torch.no_grad()
def assign_parts(
    features: Tensor,
    prototypes: Tensor,
    label: Tensor,
    pixels: tuple[int, int],
    known: Tensor | None = None,
    align_corners: bool = False,
) -> Tensor:
    r"""Part of each cell: the prototype of its class that is most similar by cosine.

    .. math:: k^*_j = \arg\max_k \cos(E_j, P_{c_j k})

    E are the features enlarged to the image. Enlarging is linear, and the length of
    E_j does not change the order of the parts; so products with the prototypes are
    taken at the resolution of the features, and these C * K maps are enlarged instead.

    Args:
        features: Features (N, D, h', w').
        prototypes: Prototypes P (C, K, D).
        label: Class (N, h, w) int64 of each cell; cells outside of 0 to C - 1 have no
            part. Cells are read at their nearest pixel, as :func:`at_cells` does.
        pixels: Size (H, W) of the image.
        known: Mask (C, K) bool of the prototypes that exist; None: all.
        align_corners: Whether enlarging aligns corners.

    Returns:
        Group c * K + k (N, h, w) int64 of each cell; -1 where it has no part.
    """
    classes, parts, _ = prototypes.shape
    with torch.autocast(features.device.type, enabled=False):
        if features.dtype in (torch.float16, torch.bfloat16):
            features = features.float()
        unit = F.normalize(prototypes, dim=2).flatten(0, 1).to(features.dtype)
        # No convolution, which cuDNN may round to TF32
        scores = torch.matmul(unit, features.flatten(2))
        scores = scores.unflatten(2, features.shape[2:])
    counts = (label >= 0) & (label < classes)
    own = label.long().where(counts, 0)
    if known is not None:
        counts = counts & known.any(1)[own]
    found = []
    for score, of in zip(scores, own, strict=True):  # memory of one image
        score = logits_at_cells(score[None], pixels, of.shape, align_corners)
        score = score.view(classes, parts, -1)
        score = score.gather(0, of.view(1, 1, -1).expand(1, parts, -1))[0]
        if known is not None:
            score = score.masked_fill(~known[of.flatten()].T, -torch.inf)
        found.append(score.argmax(0).view(of.shape))
    part = torch.stack(found) if found else own
    return torch.where(counts, own * parts + part, -1)


@torch.no_grad()
def part_sums(
    features: Tensor, group: Tensor, num_groups: int
) -> tuple[Tensor, Tensor]:
    """Sum of the features over the cells of each group, image by image.

    Args:
        features: Features (N, D, h, w).
        group: Group (N, h, w) int64 of each cell; those outside of 0 to G - 1 belong to
            none.
        num_groups: Number of groups G.

    Returns:
        Sums (N, G, D) and numbers of cells (N, G), both float32 at least.

    >>> features = torch.tensor([[[[1.0, 2.0, 6.0]]]])
    >>> sums, count = part_sums(features, torch.tensor([[[1, -1, 1]]]), 2)
    >>> sums.tolist(), count.tolist()
    ([[[0.0], [7.0]]], [[0.0, 2.0]])
    """
    with torch.autocast(features.device.type, enabled=False):
        if features.dtype in (torch.float16, torch.bfloat16):
            features = features.float()
        numbers = torch.arange(num_groups, device=group.device)[:, None]
        sums = features.new_zeros(len(group), num_groups, features.shape[1])
        count = features.new_zeros(len(group), num_groups)
        for i, (image, of) in enumerate(zip(features, group, strict=True)):
            belongs = (of.flatten() == numbers).to(features.dtype)
            torch.mm(belongs, image.flatten(1).T, out=sums[i])
            count[i] = belongs.sum(1)
        return sums, count
