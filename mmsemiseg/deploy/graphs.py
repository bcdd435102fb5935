"""A network of a predictor as files, compared with it and timed."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from ..apis import Predictor
from ..apis.image_items import ImageItems
from .checks import Agreement, agreement, picture
from .files import Graph, write_onnx, write_torchscript
from .image_network import ImageNetwork
from .timing import milliseconds

GENERATED = (320, 480)
SECOND = (0.75, 1.25)  # another size, relative to that of the image
SECONDS = 6.0
SIDES = (
    '. Its sides may have to be multiples of a number, to which images are padded by '
    'model.data_preprocessor.test_cfg=dict(size_divisor=...)'
)
HINT = '. One file for all sizes cannot be: name one by --size'


class Settings(NamedTuple):
    """What the files are like.

    Attributes:
        size: Height and width of the images; None: any.
        inputs: ``'image'`` or ``'tensor'``, see :class:`ImageNetwork`.
        outputs: ``'classes'`` or ``'logits'``.
        opset: Version of ONNX's operators.
    """

    size: tuple[int, int] | None = None
    inputs: str = 'image'
    outputs: str = 'classes'
    opset: int = 17


class Checked(NamedTuple):
    """A file that says what the network says.

    Attributes:
        path: Path of the file.
        runtime: Name of what runs it.
        pixels: Least share of equal classes over the images.
        difference: Largest difference of logits, where the file gives logits.
    """

    path: Path
    runtime: str
    pixels: float
    difference: float | None


class Report(NamedTuple):
    """What was written.

    Attributes:
        files: The files.
        sizes: Heights and widths of the images that they were checked on.
        predicted: Share of equal classes of the network in the files and of the whole
            prediction with its own image reading and resizing; None: not comparable.
        times: Milliseconds on the first image by runtime, ``torch`` among them.
    """

    files: list[Checked]
    sizes: list[tuple[int, int]]
    predicted: float | None
    times: dict[str, float]


def write_graphs(
    predictor: Predictor,
    paths: Mapping[str, Path],
    settings: Settings = Settings(),  # noqa: B008
    image: np.ndarray | None = None,
    about: Mapping | None = None,
) -> Report:
    """Write the network of a predictor; nothing is left of a file that says else.

    Args:
        predictor: A plain segmentor on the CPU.
        paths: Path of each file by ``'.onnx'`` or ``'.pt'``.
        image: RGB image (H, W, 3) to check and time the files on; None: a generated
            one.
        about: What is written into the files, beside classes and palette.

    Raises:
        ImportError: A package is missing.
        ValueError: The network cannot be written so, or a file does not say the same.
    """
    network = ImageNetwork(
        predictor.model,
        predictor.pipeline.transforms,
        settings.inputs,
        settings.outputs,
        any_size=settings.size is None,
    )
    images = _images(image, settings.size)
    examples = [_example(one, settings.inputs) for one in images]
    logits = [_logits(network, example) for example in examples]
    about = dict(
        classes=list(predictor.meta['classes']),
        palette=predictor.meta.get('palette'),
        **(about or {}),
    )
    files, graphs = [], []
    for suffix, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            part = Path(folder) / path.name
            if suffix == '.onnx':
                graph = write_onnx(network, examples[0], part, about, settings.opset)
            else:
                graph = write_torchscript(network, examples[0], part, about)
            files.append(_checked(graph, path, examples, logits, network))
            os.replace(part, path)
        graphs.append(graph)
    predicted = None
    if settings.inputs == 'image':
        predicted = _as_predicted(predictor, images[0], logits[0], network.threshold)
    return Report(
        files,
        [one.shape[:2] for one in images],
        predicted,
        _times(network, graphs, examples[0]),
    )


def _images(image: np.ndarray | None, size: tuple[int, int] | None) -> list[np.ndarray]:
    """The image, and where any size will do another one of another size."""
    if image is None:
        image = picture(*(size or GENERATED))
    if size is not None:
        return [cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)]
    other = [int(f * s) for f, s in zip(SECOND, image.shape, strict=False)]
    return [image, picture(*other, seed=1)]


def _example(image: np.ndarray, inputs: str) -> Tensor:
    pixels = torch.from_numpy(np.ascontiguousarray(image))[None]
    if inputs == 'image':
        return pixels
    return (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous()


def _logits(network: ImageNetwork, example: Tensor) -> Tensor:
    try:
        with torch.no_grad():
            return network.logits(example)
    except RuntimeError as error:
        sides = example.shape[2:] if network.prepare is None else example.shape[1:3]
        hint = SIDES + (HINT if network.any_size else '')
        raise ValueError(
            f'the network takes no image of {sides[0]} x {sides[1]}: {error}{hint}'
        ) from error


def _checked(
    graph: Graph,
    path: Path,
    examples: list[Tensor],
    logits: list[Tensor],
    network: ImageNetwork,
) -> Checked:
    found = []
    hint = HINT if network.any_size else ''
    for example, expected in zip(examples, logits, strict=True):
        height, width = expected.shape[2:]
        try:
            said = graph.run(example)
        except Exception as error:
            reason = ' '.join(str(error).split())[:300]
            raise ValueError(
                f'{path.name} fails on an image of {height} x {width}: {reason}{hint}'
            ) from error
        one = agreement(said, expected, network.threshold)
        if one.wrong > 0:
            raise ValueError(
                f'{path.name} says other than the network at {one.wrong:.1%} of the '
                f'pixels of an image of {height} x {width}{hint}'
            )
        found.append(one)
    return Checked(path, graph.runtime, *_worst(found))


def _worst(found: list[Agreement]) -> tuple[float, float | None]:
    gaps = [one.difference for one in found if one.difference is not None]
    return min(one.pixels for one in found), max(gaps, default=None)


def _as_predicted(
    predictor: Predictor, image: np.ndarray, logits: Tensor, threshold: float
) -> float:
    """Share of equal classes of the logits and of the prediction of a file."""
    with tempfile.TemporaryDirectory() as folder:
        cv2.imwrite(str(Path(folder) / '0.png'), image[..., ::-1])
        (item,) = [ImageItems(folder, ['0.png'], predictor.pipeline)[0]]
    if item.error:
        raise ValueError(f'the image cannot be prepared: {item.error}')
    label = predictor([item])[0].label
    return agreement(label[None].cpu().numpy(), logits, threshold).pixels


def _times(
    network: ImageNetwork, graphs: list[Graph], example: Tensor
) -> dict[str, float]:
    @torch.no_grad()
    def own() -> Tensor:
        return network(example)

    calls = {'torch': own}
    for graph in graphs:
        calls[graph.runtime] = lambda graph=graph: graph.run(example)
    return milliseconds(calls, SECONDS)
