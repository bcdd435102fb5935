"""What a pixel's class rests on: its own region, or the context around it.

Grad-CAM of the class score (logit) at one pixel over a feature map: the map is
ReLU(sum_k w_k A_k), where A_k are the channels and w_k the mean gradient of the score.
With --kind elementwise it is ReLU(sum_k g_k A_k) with the gradient g_k of each place,
which tells what each place adds to the score.

Printed is the share of the map inside the pixel's own segment, the connected region of
its label, beside the share of the area that this segment has: a map without
preference has both alike. The segment is that of the prediction, and of the truth
where there is a mask. The picture shows the image with the pixel, and a heat map for
each network with the outline of the predicted segment.

Images are prepared by the test pipeline of each config and seen as a whole. NETWORK is
student or teacher; plain mmseg segmentors work too.

examples:
  python tools/analysis_tools/pixel_context.py \\
      SupOnly=work_dirs/sup/config.py:work_dirs/sup/iter_9.pth \\
      CAC=work_dirs/cac/config.py:work_dirs/cac/iter_9.pth \\
      --image photo.jpg --mask photo.png --point 120,80 --out context.png
"""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.functional import resize_logits
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.overlay import titled_row
from mmsemiseg.visualization.arguments import add_network_arguments, feature_name
from mmsemiseg.visualization.images import one_info, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.pictures import YELLOW, write_picture
from mmsemiseg.visualization.tables import markdown

KINDS = ('gradcam', 'elementwise')


class Context(NamedTuple):
    """Where the class score of one pixel comes from."""

    label: np.ndarray  # (H, W) prediction
    heat: np.ndarray  # (H, W) float, at least 0
    index: int  # of the class


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    parser.add_argument('--image', required=True)
    parser.add_argument('--mask', help='true mask of the image')
    parser.add_argument(
        '--point',
        nargs='+',
        required=True,
        metavar='X,Y',
        help='pixels of the image: column and row, from 0',
    )
    parser.add_argument(
        '--class',
        dest='class_name',
        help='class whose score is explained [the predicted one]',
    )
    parser.add_argument(
        '--feature',
        type=feature_name,
        default=-1,
        help='feature map: stage1, stage2, ..., an index, or pre_cls [the last stage]',
    )
    parser.add_argument('--kind', choices=KINDS, default='gradcam')
    parser.add_argument(
        '--out', type=Path, default='work_dirs/pixel_context.png', metavar='FILE'
    )
    parser.add_argument(
        '--height', type=int, default=240, help='height of a column [240]'
    )
    return parser.parse_args(argv)


def read_point(text: str, shape: tuple[int, int]) -> tuple[int, int]:
    """``'X,Y'`` -> (row, column) inside an image of ``shape``."""
    match = re.fullmatch(r'(\d+),(\d+)', text)
    if match is None:
        raise ValueError(f'--point must be X,Y in whole pixels, but got {text!r}')
    column, row = map(int, match.groups())
    if row >= shape[0] or column >= shape[1]:
        raise ValueError(
            f'--point {text} is outside of the image, {shape[1]} x {shape[0]} pixels'
        )
    return row, column


# Attribution


def heat_map(features: Tensor, gradient: Tensor, kind: str) -> Tensor:
    """(D, h, w) features and the gradient of a score -> (h, w), at least 0."""
    if kind == 'gradcam':
        gradient = gradient.mean((1, 2), keepdim=True)
    return (gradient * features).sum(0).relu()


def look_around(
    network: Network,
    info: dict,
    point: tuple[int, int],
    class_name: str | None = None,
    feature: str | int = -1,
    kind: str = 'gradcam',
) -> Context:
    """Prediction and heat map at the size of the image."""
    item = network.load(info)
    sample = item['data_samples']
    shape, inner = tuple(sample.ori_shape), tuple(sample.img_shape)
    inputs = network.prepare(item)['inputs']
    inputs.requires_grad_()  # a teacher's parameters have no gradient
    align = _align(network)

    def to_image(maps: Tensor) -> Tensor:
        maps = resize_logits(maps, inputs.shape[2:], align)
        maps = maps[..., : inner[0], : inner[1]]  # without padding
        return maps if inner == shape else resize_logits(maps, shape, align)

    with torch.enable_grad():
        output = network.adapter(feature)(network.segmentor, inputs)
        logits = to_image(output.logits.float())[0]
        label = logits.argmax(0)
        index = int(label[point])
        if class_name is not None:
            index = _class_index(network, class_name)
        score, features = logits[(index, *point)], output.features
        (gradient,) = torch.autograd.grad(score, features, allow_unused=True)
    if gradient is None:
        raise ValueError(
            f'{network.name}: the scores do not depend on --feature {feature}'
        )
    heat = heat_map(features[0].detach().float(), gradient[0].float(), kind)
    heat = to_image(heat[None, None])[0, 0]
    return Context(label.cpu().numpy(), heat.cpu().numpy(), index)


def _align(network: Network) -> bool:
    head = network.segmentor.decode_head
    return (head[-1] if isinstance(head, torch.nn.ModuleList) else head).align_corners


def _class_index(network: Network, name: str) -> int:
    if name not in network.classes:
        raise ValueError(f'--class must be in {network.classes}, but got {name!r}')
    return network.classes.index(name)


def segment_of(label: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the connected region around the pixel that has its label."""
    same = (label == label[point]).astype(np.uint8)
    _, parts = cv2.connectedComponents(same, connectivity=8)
    return parts == parts[point]


def share(heat: np.ndarray, segment: np.ndarray) -> float:
    """Part of the heat inside the segment; NaN where there is no heat at all."""
    total = heat.sum(dtype=np.float64)
    return float(heat[segment].sum(dtype=np.float64) / total) if total else float('nan')


# Picture


def mark(picture: np.ndarray, point: tuple[int, int]) -> np.ndarray:
    size = max(6, max(picture.shape) // 25)
    place = point[::-1]
    return cv2.drawMarker(picture.copy(), place, YELLOW, cv2.MARKER_CROSS, size, 2)


def paint(image: np.ndarray, context: Context, point: tuple[int, int]) -> np.ndarray:
    """Heat map over the image, outline of the predicted segment, the pixel."""
    heat = context.heat / max(context.heat.max(), 1e-12)
    colours = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_JET)
    picture = cv2.addWeighted(image, 0.5, colours, 0.5, 0)
    segment = segment_of(context.label, point).astype(np.uint8)
    how = (cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    outlines, _ = cv2.findContours(segment, *how)
    cv2.drawContours(picture, outlines, -1, (255, 255, 255), 1)
    return mark(picture, point)


def describe(context: Context, truth, point: tuple[int, int], classes) -> list[str]:
    """Class, and in percent the share and the area of both segments."""
    cells = [classes[context.index]]
    for label in (context.label, truth):
        if label is None:
            cells += ['', '']
        else:
            segment = segment_of(label, point)
            parts = (share(context.heat, segment), float(segment.mean()))
            cells += [f'{100 * part:.1f}' for part in parts]
    return cells


def main(argv=None) -> int:
    args = parse_args(argv)
    networks = load_networks(args.networks, args.device)
    info = one_info(args.image, args.mask, networks[0].data)
    image, truth = read_image(networks[0], info)
    points = [read_point(text, image.shape[:2]) for text in args.point]
    rows, pictures = [], []
    for text, point in zip(args.point, points, strict=True):
        columns = dict(image=mark(image, point))
        for network in networks:
            context = look_around(
                network, info, point, args.class_name, args.feature, args.kind
            )
            if context.label.shape != image.shape[:2]:
                raise ValueError(
                    f'{network.name} predicts {context.label.shape} for an image of '
                    f'{image.shape[:2]}: give all configs one protocol'
                )
            cells = describe(context, truth, point, network.classes)
            rows.append([network.name, text, *cells])
            columns[f'{network.name} {cells[1]}'] = paint(image, context, point)
        pictures.append(titled_row(columns, args.height))
    own = ['own segment %', 'its area %', 'true segment %', 'its area %']
    print(markdown(['', 'point', 'class', *own], rows))
    write_picture(args.out, np.vstack(pictures))
    print(f'picture: {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
