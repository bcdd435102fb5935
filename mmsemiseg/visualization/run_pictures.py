"""Pictures of a run from its last checkpoint, for its report."""

import dataclasses
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from mmseg.registry import DATASETS

from ..datasets import StreamDataset
from ..datasets.stream_dataset import sample_rng
from ..functional.pseudo_label import IGNORE_INDEX
from ..models.head_rules import rule_of
from ..utils.overlay import overlay, titled_row
from .data_sets import dataset_infos
from .images import draw, read_image
from .networks import Network, Source, load_network
from .pictures import write_picture

HEIGHT = 192
PADDING = (255, 0, 255)
FOLDER = 'report_pictures'
COLOURS = 'colours.json'
VALIDATION, PSEUDO, FEATURES = 'validation', 'pseudo_labels', 'features'


class View(NamedTuple):
    """A view of an unlabeled image.

    Attributes:
        picture: Image (H, W, 3) BGR.
        sample: Packed sample, as the stream has it.
    """

    picture: np.ndarray
    sample: dict


def last_checkpoint(folder: Path) -> Path:
    """The checkpoint that a run has saved last, also in a folder that was moved.

    Raises:
        FileNotFoundError: There is none.
    """
    note = folder / 'last_checkpoint'
    if note.is_file():
        named = Path(note.read_text(encoding='utf-8').strip())
        for path in (named, folder / named.name):
            if path.is_file():
                return path
    raise FileNotFoundError(f'{folder} has no checkpoint (last_checkpoint)')


def load_run(folder: str | Path, device: str | None = None) -> Network:
    """The model of a run with the weights of its last checkpoint."""
    folder = Path(folder)
    config = folder / 'config.py'
    return load_network(Source(f'run={config}:{last_checkpoint(folder)}'), device)


def write_colours(network: Network, out: Path) -> None:
    """The colour of each class in the pictures, for their legend."""
    hexadecimal = ['#{:02x}{:02x}{:02x}'.format(*map(int, c)) for c in network.palette]
    colours = dict(zip(network.classes, hexadecimal, strict=False))
    out.mkdir(parents=True, exist_ok=True)
    (out / COLOURS).write_text(json.dumps(colours, indent=1), encoding='utf-8')


def draw_validation(network: Network, out: Path, count: int, seed: int = 0) -> int:
    """Image, truth and the prediction of each network; returns how many there are."""
    names = list(getattr(network.model, 'networks', {})) or [None]
    infos = draw(dataset_infos([network.data]), count, seed)
    _forget(out / VALIDATION)
    for number, info in enumerate(infos):
        image, truth = read_image(network, info)
        row = dict(image=image)
        if truth is not None:
            row['truth'] = overlay(image, truth, network.palette)
        for name in names:
            label = dataclasses.replace(network, network=name).predict(info)
            painted = overlay(image, label.astype(np.uint8), network.palette)
            row[name or 'prediction'] = painted
        write_picture(out / VALIDATION / f'{number:02}.png', titled_row(row, HEIGHT))
    return len(infos)


def draw_pseudo_labels(network: Network, out: Path, count: int, seed: int = 0) -> int:
    """Views of unlabeled images, with the pseudo labels and the confidence of one.

    The labeler is the first teacher, or else the first student; pixels below the
    threshold of ``model.pseudo_loss`` stay without colour. Returns how many there are.
    """
    loaders = network.cfg.get('train_dataloader') or {}
    if 'unlabeled' not in loaders:
        return 0
    dataset = StreamDataset(DATASETS.build(loaders.unlabeled.dataset), 'unlabeled')
    _forget(out / PSEUDO)
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    for number, place in enumerate(places.round().astype(int).tolist()):
        with sample_rng(seed + place):
            views = _views(dataset[place])
        first = 'weak' if 'weak' in views else next(iter(views))
        labeled = views.pop(first)
        label, confidence = _pseudo_label(network, labeled.sample)
        row = {first: labeled.picture}
        row['pseudo labels'] = overlay(labeled.picture, label, network.palette)
        row['confidence'] = np.repeat(confidence[..., None], 3, axis=2)
        row |= {name: view.picture for name, view in views.items()}
        write_picture(out / PSEUDO / f'{number:02}.png', titled_row(row, HEIGHT))
    return len(places)


def _forget(folder: Path) -> None:
    """Remove the pictures of an earlier report, of which there may be more."""
    for picture in folder.glob('[0-9][0-9]*.png'):
        picture.unlink()


def _views(sample: dict) -> dict[str, View]:
    views = dict(image=sample) if 'inputs' in sample else sample
    return {name: View(_picture(one), one) for name, one in views.items()}


def _picture(sample: dict) -> np.ndarray:
    """Pixels of a view, padding coloured."""
    picture = sample['inputs'].permute(1, 2, 0).numpy().copy()
    if 'valid_map' in sample['data_samples']:
        picture[~sample['data_samples'].valid_map.data[0].numpy()] = PADDING
    return picture


@torch.no_grad()
def _pseudo_label(network: Network, sample: dict) -> tuple[np.ndarray, np.ndarray]:
    """Classes that are kept, 255 elsewhere, and confidence from 0 to 255."""
    networks = getattr(network.model, 'networks', {})
    teachers = [name for name in networks if name.startswith('teacher')]
    chosen = (teachers or list(networks) or [None])[0]
    segmentor = networks[chosen] if chosen else network.model
    batch = network.batch([sample])
    size = tuple(batch.inputs.shape[2:])
    meta = dict(img_shape=size, ori_shape=size, pad_shape=size)
    scores = segmentor.encode_decode(batch.inputs, [meta])
    probs = rule_of(segmentor).logits_of_prediction(scores).float().softmax(1)
    height, width = sample['inputs'].shape[1:]
    confidence, label = probs[0, :, :height, :width].cpu().max(0)
    part = getattr(network.model, 'pseudo_loss', None)
    threshold = getattr(part, 'threshold', None)
    kept = confidence >= (threshold or 0)
    if 'valid_map' in sample['data_samples']:
        kept &= sample['data_samples'].valid_map.data[0].bool()
    label = torch.where(kept, label, IGNORE_INDEX)
    scaled = (255 * confidence).round().byte()
    return label.byte().numpy(), scaled.numpy()


def features_command(folder: Path, out: Path, count: int) -> list[str]:
    """Arguments of ``embed_features`` for the t-SNE of the run's validation images."""
    source = f'features={folder / "config.py"}:{last_checkpoint(folder)}'
    picture = out / FEATURES / 'classes.png'
    return [source, '--count', str(count), '--points', '600', '--out', str(picture)]
