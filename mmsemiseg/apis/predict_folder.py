"""Predict all images of a folder."""

import os
import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import mmcv
import numpy as np
import torch
from mmengine.utils import ProgressBar

from ..datasets.files import strip_suffix
from ..evaluation.label_maps import LabelMapWriter
from ..utils.overlay import overlay
from .image_items import (
    ImageItems,
    Item,
    describe,
    equal_batches,
    list_images,
    read_items,
)
from .output_folder import OutputFolder
from .predictor import Prediction, Predictor
from .uncertainty import Score, score, write_ranking

HELD = 4  # batches of images of other sizes that wait


class Wanted(NamedTuple):
    """What is written about each image, beside its mask.

    Attributes:
        overlay: Whether the image is coloured by its classes.
        confidence: Whether the probability of the predicted classes is written.
        ranking: File of the images by their uncertainty; None: no such file.
    """

    overlay: bool = False
    confidence: bool = False
    ranking: str | None = None


class Outcome(NamedTuple):
    """What became of a folder of images.

    Attributes:
        written: Number of images that were predicted.
        failed: Reason by path of each image that was not.
        others: Number of files that are no images.
        seconds: Time that all of it took.
    """

    written: int
    failed: dict[str, str]
    others: int
    seconds: float


def predict_folder(
    predictor: Predictor,
    folder: str,
    out: OutputFolder,
    wanted: Wanted = Wanted(),  # noqa: B008
    batch_size: int = 4,
    workers: int = 2,
) -> Outcome:
    """Write a mask of each image below a folder, and what else is wanted.

    ``masks/seq/0001.png`` is the mask of ``seq/0001.jpg``, in the numbers of the masks
    that the network was trained on; ``overlays/`` and ``confidence/`` are named alike.
    An image that cannot be read or predicted is noted, and the others go on.
    """
    start = time.time()
    listing = list_images(folder)
    about = dict(
        network=predictor.network or 'plain',
        classes=list(predictor.meta['classes']),
        protocol=predictor.protocol,
    )
    out.write_record(**about)
    files = _Files(predictor, folder, out, wanted)
    failed, scores = dict(listing.clashes), {}
    bar = ProgressBar(len(listing.images), file=sys.stderr)
    items = ImageItems(folder, listing.images, predictor.pipeline)
    batches = equal_batches(read_items(items, workers), batch_size, HELD * batch_size)
    for batch in batches:
        for item, found in _predicted(predictor, batch, files.needs_probs):
            try:
                if isinstance(found, str):
                    failed[item.path] = found
                else:
                    scores[item.path] = files.write(item, found)
            except ValueError as error:
                failed[item.path] = describe(error)
            bar.update()
    print(file=sys.stderr)
    if wanted.ranking is not None:
        write_ranking(wanted.ranking, scores)
    seconds = time.time() - start
    out.write_record(**about, written=len(scores), failed=failed, seconds=seconds)
    return Outcome(len(scores), failed, len(listing.others), seconds)


def _predicted(
    predictor: Predictor, batch: list[Item], probs: bool
) -> Iterator[tuple[Item, 'Prediction | str']]:
    """Prediction of each image, or the reason why there is none.

    Where a batch fails, for lack of memory say, its images are tried one by one.
    """
    if batch[0].error:
        yield batch[0], batch[0].error
        return
    try:
        found = predictor(batch, probs)
    except (RuntimeError, ValueError) as error:
        reason = _explained(error)
    else:
        yield from zip(batch, found, strict=True)
        return
    if len(batch) == 1:
        yield batch[0], reason
        return
    for item in batch:
        yield from _predicted(predictor, [item], probs)


def _explained(error: Exception) -> str:
    reason = describe(error)
    if isinstance(error, torch.cuda.OutOfMemoryError):
        torch.cuda.empty_cache()
        reason = 'too large for the memory of the device: try --slide or --device cpu'
    return reason


class _Files:
    """Writes what is wanted of each image."""

    def __init__(
        self, predictor: Predictor, folder: str, out: OutputFolder, wanted: Wanted
    ) -> None:
        self.folder, self.out, self.wanted = folder, out.path, wanted
        self.palette = _palette(predictor.meta)
        self.masks = LabelMapWriter()
        self.trained = predictor.meta
        self.needs_probs = wanted.confidence or wanted.ranking is not None

    def write(self, item: Item, found: Prediction) -> Score | None:
        """Write the files of an image; returns its score where it is asked for.

        Raises:
            ValueError: The mask has another size than the image.
        """
        name = strip_suffix(item.path)
        path = os.path.join(self.folder, item.path)
        label = found.label.cpu().numpy().astype(np.uint8)
        self.masks.prepare({path: name}, self.trained)
        self.masks.write(str(self.out / 'masks'), path, label, {})
        if self.wanted.overlay:
            self._write('overlays', f'{name}.jpg', self._painted(path, label))
        if found.probs is None:
            return None
        if self.wanted.confidence:
            sure = found.probs.max(0).values.mul(255).round().byte()
            self._write('confidence', f'{name}.png', sure.cpu().numpy())
        return score(found.probs)

    def _painted(self, path: str, label: np.ndarray) -> np.ndarray:
        image = mmcv.imread(path)
        if image.shape[:2] != label.shape:
            raise ValueError(
                f'the prediction has {label.shape[0]} x {label.shape[1]} pixels, the '
                f'image {image.shape[0]} x {image.shape[1]}: the test pipeline of the '
                'config changes the size before it is noted'
            )
        return overlay(image, label, self.palette)

    def _write(self, kind: str, name: str, picture: np.ndarray) -> None:
        target = self.out / kind / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(target), picture):
            raise OSError(f'{target} cannot be written')


def _palette(meta: dict) -> list:
    """The colours of the classes; without any, those that MMSegmentation would draw."""
    colours = meta.get('palette')
    if colours:
        return colours
    generator = np.random.RandomState(42)
    return generator.randint(0, 256, (len(meta['classes']), 3)).tolist()
