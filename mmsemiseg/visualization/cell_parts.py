"""Object parts of the cells of an image, as a run of ESL groups them."""

import numpy as np
import torch
from torch import Tensor

from ..functional import assign_parts
from ..models.contrast import PartContrast
from .networks import Network

PALEST = 0.25  # share of its class's colour that the last part has


def has_parts(network: Network) -> bool:
    return isinstance(getattr(network.model, 'contrast', None), PartContrast)


@torch.no_grad()
def parts_at(teller: Network, network: Network, info: dict, label: Tensor) -> Tensor:
    """Part c * K + k (h, w) of each cell of an image; -1 where it has none.

    Args:
        teller: A method with a part contrast, whose teacher and prototypes decide.
        network: The network whose cells they are.
        info: The image, as the test pipelines read it.
        label: Class (h, w) int64 of each cell; cells of no class have no part.
    """
    images, seen = (n.prepare(n.load(info))['inputs'] for n in (teller, network))
    if images.shape != seen.shape:
        raise ValueError(
            f'{teller.name}, which tells the parts, tests '
            f'{tuple(images.shape[2:])} pixels, but {network.name} '
            f'{tuple(seen.shape[2:])}'
        )
    model, prototypes = teller.model, teller.model.contrast.prototypes
    parts = assign_parts(
        model.adapter.features(model.teacher, images, only=1),
        prototypes.vectors,
        label[None].to(images.device),
        tuple(images.shape[2:]),
        prototypes.known,
        model.align_corners,
    )
    return parts[0].cpu()


def part_colours(colours: np.ndarray, parts: int) -> np.ndarray:
    """Colours (C * K, 3) of the K parts of each class, from its own to pale ones.

    Args:
        colours: Colour (C, 3) of each class, in 0 to 1.
        parts: Number K of parts of a class.

    >>> part_colours(np.array([[1.0, 0.0, 0.0]]), 2).tolist()
    [[1.0, 0.0, 0.0], [1.0, 0.75, 0.75]]
    """
    share = np.linspace(1, PALEST, parts)[:, None] if parts > 1 else np.ones((1, 1))
    return (1 - share * (1 - colours[:, None])).reshape(-1, 3)
