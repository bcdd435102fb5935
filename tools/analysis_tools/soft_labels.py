"""Soft labels of a teacher: entropy, number of dominant classes, and object parts.

For a checkpoint of ESL. One picture an image: the image, the teacher's prediction, its
entropy (dark: none, bright: that of a uniform distribution), the number of classes that
its soft label keeps (dark: one), and, with a contrast, the parts of the predicted
classes, each in a shade of its class. The table has the share of the pixels with 1, 2,
3 and more dominant classes. The images are drawn at random, not chosen.

examples:
  python tools/analysis_tools/soft_labels.py \\
      ESL=work_dirs/esl/config.py:work_dirs/esl/iter_9.pth --count 4 --out soft_labels
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.functional import assign_parts
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.overlay import overlay, titled_row
from mmsemiseg.visualization.arguments import add_image_arguments, add_network_arguments
from mmsemiseg.visualization.data_sets import dataset_infos, evaluation_sets
from mmsemiseg.visualization.images import draw, find_infos, read_image
from mmsemiseg.visualization.networks import Network, load_networks
from mmsemiseg.visualization.pictures import legend, write_picture
from mmsemiseg.visualization.tables import markdown


class View(NamedTuple):
    """Maps (H, W) of a teacher, at the size of the image."""

    label: np.ndarray
    entropy: np.ndarray  # 0 to 1
    number: np.ndarray  # dominant classes
    part: np.ndarray | None  # number of the part in its class; -1: none


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_network_arguments(parser)
    add_image_arguments(parser, "the config's test data")
    parser.add_argument(
        '--out', type=Path, default='work_dirs/soft_labels', metavar='DIR'
    )
    parser.add_argument('--height', type=int, default=192, help='of a column [192]')
    return parser.parse_args(argv)


@torch.no_grad()
def look(network: Network, info: dict) -> View:
    """What the teacher says of an image, prepared by the test pipeline."""
    model, item = network.model, network.load(info)
    inputs = network.prepare(item)['inputs']
    sample = item['data_samples']
    inner, shape = tuple(sample.img_shape), tuple(sample.ori_shape)
    output = model.adapter(model.teacher, inputs)
    logits = model.upsampled(output.logits, inputs)[..., : inner[0], : inner[1]]
    valid = torch.ones_like(logits[:, 0], dtype=torch.bool)
    pseudo = model.pseudo_label(logits, valid)
    probs = logits.float().softmax(1)
    entropy = -torch.xlogy(probs, probs).sum(1) / math.log(probs.shape[1])
    kept = probs if pseudo.probs is None else pseudo.probs
    number = torch.ones_like(pseudo.label)
    if pseudo.probs is not None:
        number = (kept > 0).sum(1)
    part = None
    if model.contrast is not None:
        prototypes = model.contrast.prototypes
        label = model.upsampled(output.logits, inputs).argmax(1)
        part = assign_parts(
            output.features[1],
            prototypes.vectors,
            label,
            tuple(inputs.shape[2:]),
            prototypes.known,
            model.align_corners,
        )[..., : inner[0], : inner[1]]
        part = torch.where(part < 0, -1, part % model.contrast.num_parts)

    def to_image(values: Tensor | None) -> np.ndarray | None:
        if values is None:
            return None
        values = values[0].cpu().numpy()
        kind = np.float32 if values.dtype.kind == 'f' else np.int32
        size = shape[::-1]
        return cv2.resize(values.astype(kind), size, interpolation=cv2.INTER_NEAREST)

    return View(*map(to_image, (pseudo.label, entropy, number, part)))


def heat(values: np.ndarray, most: float) -> np.ndarray:
    scaled = np.clip(255 * values / most, 0, 255).astype(np.uint8)
    return cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS)


def shades(view: View, palette, parts: int) -> np.ndarray:
    """Colours of the classes, the parts from dark to bright; black without a part."""
    colours = np.asarray(palette, np.float32)[view.label][..., ::-1]
    share = (view.part + 1)[..., None] / parts
    return (
        (colours * share + 255 * 0.4 * share * (1 - share))
        .clip(0, 255)
        .astype(np.uint8)
    )


def main(argv=None) -> int:
    args = parse_args(argv)
    networks = load_networks(args.networks, args.device)
    network = networks[0]
    model = network.model
    if len(networks) != 1 or type(model).__name__ != 'ESL':
        raise ValueError(
            'soft labels are those of one checkpoint of ESL, but got '
            f'{[f"{n.name} ({type(n.model).__name__})" for n in networks]}'
        )
    if args.images is None:
        infos = dataset_infos(evaluation_sets(network.cfg))
    else:
        infos = find_infos(args, network.data)
    rows = []
    for number, info in enumerate(draw(infos, args.count, args.seed)):
        image, _ = read_image(network, info)
        view = look(network, info)
        columns = dict(image=image, teacher=overlay(image, view.label, network.palette))
        columns['entropy'] = heat(view.entropy, 1)
        columns['dominant classes'] = heat(view.number - 1, 4)
        if view.part is not None:
            parts = model.contrast.num_parts
            columns['parts'] = shades(view, network.palette, parts)
        name = f'{number:02d}_{Path(info["img_path"]).stem}.png'
        row = titled_row(columns, args.height)
        below = legend([view.label], network.classes, network.palette, row.shape[1])
        write_picture(args.out / name, np.vstack([row, below]))
        shares = [(view.number == k).mean() for k in (1, 2, 3)]
        shares.append((view.number > 3).mean())
        mean = f'{view.entropy.mean():.3f}'
        rows.append([name, mean, *(f'{100 * share:.1f}' for share in shares)])
    head = ['picture', 'entropy', '1 class %', '2 classes %', '3 classes %', 'more %']
    print(markdown(head, rows))
    print(f'pictures: {args.out}')
    return 0


if __name__ == '__main__':
    exit_with(main, CheckpointError)
