"""How sure a network is of an image, and the images it is least sure of."""

import csv
import io
import math
import os
from typing import NamedTuple

from torch import Tensor

from ..datasets.files import listed_name, strip_suffix
from ..engine.checkpoints import atomic_write


class Score(NamedTuple):
    """Mean over the pixels of an image.

    Attributes:
        uncertainty: Mean entropy over log C, in [0, 1].
        confidence: Mean probability of the predicted class.
    """

    uncertainty: float
    confidence: float


def score(probs: Tensor) -> Score:
    """The score of probabilities (C, H, W).

    >>> import torch
    >>> sure, unsure = torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.5])
    >>> score(torch.stack([sure, unsure], 1)[:, None])
    Score(uncertainty=0.5..., confidence=0.75)
    """
    entropy = -(probs * probs.clamp_min(1e-12).log()).sum(0).mean()
    confidence = probs.max(0).values.mean().item()
    return Score(entropy.item() / math.log(len(probs)), confidence)


def write_ranking(path: str | os.PathLike, scores: dict[str, Score]) -> None:
    """Write the images by falling uncertainty: those to label next come first.

    A ``.txt`` file is a list of names, as splits and data sets read it; any other file
    is a table with columns (CSV).

    Args:
        scores: Score of each image by its path relative to the folder.
    """
    ranked = sorted(scores.items(), key=lambda pair: (-pair[1].uncertainty, pair[0]))
    if os.fspath(path).endswith('.txt'):
        text = ''.join(f'{listed_name(strip_suffix(name))}\n' for name, _ in ranked)
    else:
        file = io.StringIO()
        table = csv.writer(file, lineterminator='\n')
        table.writerow(['rank', 'image', *Score._fields])
        for rank, (name, values) in enumerate(ranked, 1):
            table.writerow([rank, name, *(f'{value:.4f}' for value in values)])
        text = file.getvalue()
    with atomic_write(path) as part, open(part, 'w', encoding='utf-8') as file:
        file.write(text)
