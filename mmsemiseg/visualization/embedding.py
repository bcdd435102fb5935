"""Points in the plane by a t-SNE."""

import numpy as np
import torch


def tsne():
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise ImportError(
            't-SNE needs scikit-learn: pip install -e ".[viz]"'
        ) from error
    return TSNE


def lay_out(rows: torch.Tensor, perplexity: float, seed: int) -> np.ndarray:
    """Lay out points in the plane: (n, D) -> (n, 2)"""
    if not 0 < perplexity < len(rows):
        raise ValueError(
            f'--perplexity must be below the number of points, {len(rows)}, '
            f'but got {perplexity:g}'
        )
    method = tsne()(perplexity=perplexity, init='pca', random_state=seed)
    return method.fit_transform(rows.double().numpy())
