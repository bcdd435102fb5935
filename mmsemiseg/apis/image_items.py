"""Images of a folder, prepared for a network, without an end at a broken one."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..datasets.files import find_images, strip_suffix, walk_files
from ..datasets.strict_decode import decode_image


class Listing(NamedTuple):
    """Images below a folder, by their paths relative to it.

    Attributes:
        images: Paths of the images.
        clashes: Reason by path of each image that is left out, because another one
            would get the same name.
        others: Paths of files whose suffix is of no image.
    """

    images: list[str]
    clashes: dict[str, str]
    others: list[str]


def list_images(folder: str) -> Listing:
    """The images below a folder, or one image.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'there is no folder {folder}')
    found = find_images(folder)
    known = set(found)
    others = [path for path in walk_files(folder) if path not in known]
    if not found:
        raise FileNotFoundError(
            f'there is no image below {folder}, but {len(others)} other files'
        )
    counts = Counter(strip_suffix(path) for path in found)
    clashes = {
        path: f'another image has its name too: both would be {strip_suffix(path)}.png'
        for path in found
        if counts[strip_suffix(path)] > 1
    }
    return Listing([path for path in found if path not in clashes], clashes, others)


class Item(NamedTuple):
    """A prepared image, or the reason why it is none.

    Attributes:
        path: Path of the image, relative to the folder.
        inputs: Prepared images, one for each augmentation.
        samples: Data sample of each of the ``inputs``.
        error: Reason why the image cannot be used; '' if it can.
    """

    path: str
    inputs: list[Tensor]
    samples: list
    error: str = ''

    @property
    def sizes(self) -> tuple:
        """Sizes of the original image and of each input."""
        original = tuple(self.samples[0].ori_shape)
        return original, *(tuple(one.shape) for one in self.inputs)


class ImageItems(Dataset):
    """The images of a folder as :class:`Item`; a broken one has its reason.

    Args:
        folder: Folder of the images.
        paths: Paths of the images, relative to the folder.
        pipeline: Transform of a data info that ends with packing.
    """

    def __init__(self, folder: str, paths: Sequence[str], pipeline) -> None:
        self.folder = folder
        self.paths = list(paths)
        self.pipeline = pipeline

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Item:
        path = self.paths[index]
        full = os.path.join(self.folder, path)
        try:
            decode_image(full)
            packed = self.pipeline(dict(img_path=full))
            if packed is None:
                raise ValueError('a transform of the test pipeline dropped it')
        except Exception as error:
            return Item(path, [], [], describe(error))
        inputs, samples = packed['inputs'], packed['data_samples']
        if isinstance(inputs, Tensor):
            inputs, samples = [inputs], [samples]
        return Item(path, list(inputs), list(samples))


def describe(error: Exception) -> str:
    """An error in one line."""
    text = ' '.join(str(error).split())
    return f'{type(error).__name__}: {text}' if text else type(error).__name__


def read_items(items: ImageItems, workers: int) -> Iterable[Item]:
    """All items in order, read by worker processes; by this one if there are none."""
    return DataLoader(
        items, batch_size=None, num_workers=workers, collate_fn=lambda item: item
    )


def equal_batches(items: Iterable[Item], size: int, held: int) -> Iterator[list[Item]]:
    """Batches of images of equal sizes; a broken image is a batch of its own.

    Args:
        size: Number of images in a batch.
        held: Number of images that wait for others of their size; when there are so
            many, the largest batch goes.

    >>> from argparse import Namespace
    >>> items = [Namespace(sizes=size, error='') for size in 'aabaab']
    >>> [''.join(i.sizes for i in b) for b in equal_batches(items, 2, 8)]
    ['aa', 'aa', 'bb']
    >>> [''.join(i.sizes for i in b) for b in equal_batches(items, 3, 3)]
    ['aa', 'aa', 'bb']
    """
    waiting: dict[tuple, list[Item]] = {}
    for item in items:
        if item.error:
            yield [item]
            continue
        batch = waiting.setdefault(item.sizes, [])
        batch.append(item)
        if len(batch) == size:
            yield waiting.pop(item.sizes)
        elif sum(map(len, waiting.values())) >= held:
            yield waiting.pop(max(waiting, key=lambda sizes: len(waiting[sizes])))
    yield from waiting.values()
