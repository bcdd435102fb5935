"""Masks of a network's predictions on disk, whole files only."""

import json
import os

import cv2
import numpy as np
import torch
from mmengine.dist import barrier, is_main_process
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ...datasets.image_names import image_names

IGNORE_INDEX = 255


@torch.no_grad()
def write_masks(
    model: nn.Module,
    loader: DataLoader,
    index: str,
    network: str = 'student',
    threshold: float | None = None,
) -> None:
    """Predict each image of ``loader`` (batch size 1), write one PNG beside ``index``.

    A mask that exists already is kept. It has the name of its image, and the sub-folder
    in which the data set found the image. Its values are class numbers, or the model's
    ``ignore_index`` (else 255) for pixels that are ignored. The JSON file ``index``, a
    list of ``{"img_path", "seg_map_path"}``, is written last: where it exists, all
    masks are complete.

    Args:
        model: Method whose network predicts.
        loader: Dataloader of the images.
        index: Path of the JSON file; the masks are written beside it.
        network: Network that predicts: a name in ``model.networks``, or ``'mean'``.
        threshold: Least confidence of a pixel that is not ignored; None keeps all
            pixels.

    Raises:
        ValueError: Two images would get one mask.
    """
    folder = os.path.dirname(index)
    os.makedirs(folder, exist_ok=True)
    names = {path: f'{name}.png' for path, name in image_names(loader.dataset).items()}
    ignored = getattr(model, 'ignore_index', IGNORE_INDEX)
    model.eval()
    bar = ProgressBar(len(loader)) if is_main_process() else None
    for batch in loader:
        target = os.path.join(folder, names[batch['data_samples'][0].img_path])
        if not os.path.isfile(target):
            data = model.data_preprocessor(batch, False)
            sample = model.predict_as(network, **data)[0]
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _write(target, _png(_mask(sample, threshold, ignored)))
        if bar is not None:
            bar.update()
    barrier()
    if is_main_process():
        pairs = [dict(img_path=path, seg_map_path=name) for path, name in names.items()]
        _write(index, json.dumps(pairs, indent=1).encode())
    barrier()


def _mask(sample, threshold: float | None, ignored: int) -> np.ndarray:
    """Mask (H, W) uint8 at the image's original size."""
    mask = sample.pred_sem_seg.data[0].byte()
    if threshold is not None:
        confidence = _confidence(sample.seg_logits.data.float())
        mask = mask.masked_fill(confidence < threshold, ignored)
    return mask.cpu().numpy()


def _confidence(logits: Tensor) -> Tensor:
    """Confidence (H, W); mmseg has put a single channel through the sigmoid."""
    if logits.shape[0] == 1:
        return torch.maximum(logits[0], 1 - logits[0])
    return logits.softmax(0).amax(0)


def _png(mask: np.ndarray) -> bytes:
    ok, encoded = cv2.imencode('.png', mask)
    if not ok:
        raise OSError(f'could not encode a mask of shape {mask.shape} as PNG')
    return encoded.tobytes()


def _write(path: str, content: bytes) -> None:
    """Write a whole file or none of it."""
    part = f'{path}.{os.getpid()}.part'
    with open(part, 'wb') as file:
        file.write(content)
    os.replace(part, path)
