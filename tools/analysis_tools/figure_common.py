"""What the tools for figures share: networks from checkpoints, images, pictures."""

import argparse
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from torch import nn

import mmsemiseg  # noqa: F401  (registers the modules)
from mmsemiseg.datasets.files import FileIndex, name_some
from mmsemiseg.datasets.transforms import CenterCropEval, CheckLabels
from mmsemiseg.datasets.unlabeled import UnlabeledDataset
from mmsemiseg.engine.checkpoints import (
    CheckpointError,
    read_checkpoint,
    require_fit,
)
from mmsemiseg.models import Batch, SemiDataPreProcessor
from mmsemiseg.models.adapter import SegmentorAdapter
from mmsemiseg.models.heads import BankContrastHead, unit_length
from mmsemiseg.utils.launch import existing_file

IGNORE_INDEX = 255
YELLOW = (0, 255, 255)  # BGR
SHAPE = 'NAME=CONFIG:CHECKPOINT[:NETWORK]'
ERRORS = (CheckpointError, FileNotFoundError, ImportError, ValueError)


class Source:
    """A config and a checkpoint, as the command line names them.

    >>> source = Source('CAC=runs/cac/config.py:runs/cac/iter_9.pth:student')
    >>> source.name, source.config, source.path, source.network
    ('CAC', 'runs/cac/config.py', 'runs/cac/iter_9.pth', 'student')
    """

    def __init__(self, text: str) -> None:
        network = r'student\d*|teacher\d*|mean(?:_students|_teachers)?'
        pattern = rf'([^=]+)=(.+?\.py):(.+?)(?::({network}))?'
        match = re.fullmatch(pattern, text)
        if match is None:
            raise ValueError(f'a network must be {SHAPE}, but got {text!r}')
        self.name, self.config, self.path, self.network = match.groups()

    def read_config(self) -> Config:
        cfg = Config.fromfile(existing_file(self.config, self.name))
        init_default_scope(cfg.get('default_scope') or 'mmseg')
        return cfg


@dataclass
class Network:
    """A method or a plain mmseg segmentor from a checkpoint, in eval mode.

    Args:
        data: First test data set of its config, which need not exist.
        network: Network of a method that predicts, by name; None: that of its config.
    """

    name: str
    cfg: Config
    model: nn.Module
    network: str | None
    data: Any
    iteration: int | None

    @property
    def classes(self) -> list[str]:
        return list(self.data.metainfo['classes'])

    @property
    def palette(self) -> list:
        return self.data.metainfo['palette']

    @property
    def segmentor(self) -> nn.Module:
        """The one whose features are looked at."""
        if not hasattr(self.model, 'networks'):
            return self.model
        return self.model.networks[self._one_network()]

    def _one_network(self) -> str:
        networks = list(self.model.networks)
        name = self.network or self.model.predict_with
        if name not in networks:
            raise ValueError(
                f"{self.name}: features are one network's, of {networks}, but "
                f'got {name!r}: end its argument with one of these names'
            )
        return name

    def adapter(self, feature: str | int | None) -> SegmentorAdapter:
        return SegmentorAdapter(self.segmentor, feature)

    @property
    def pair(self) -> tuple[str, int]:
        """'student' or 'teacher', and the number of its pair."""
        kind, number = re.fullmatch(r'(\D+)(\d*)', self._one_network()).groups()
        return kind, int(number or 0)

    @property
    def projector(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """Features (N, D, h, w) -> what the method compares; None: it has none."""
        contrast = getattr(self.model, 'contrast', None)
        heads = [
            h for p in (self.model, contrast) for h in getattr(p, 'head_pairs', ())
        ]
        if not heads:
            return getattr(contrast, 'projector', None)
        kind, index = self.pair
        head = getattr(heads[index], kind)
        if not isinstance(head, BankContrastHead):
            return head

        def project(features: torch.Tensor) -> torch.Tensor:
            rows = head.projection(features.movedim(1, 3).flatten(0, 2))
            shape = len(features), *features.shape[2:]
            return unit_length(rows.unflatten(0, shape).movedim(3, 1))

        return project

    def load(self, info: dict) -> dict:
        """The image as the test pipeline packs it, without its mask."""
        data = {key: value for key, value in info.items() if key != 'seg_map_path'}
        for transform in self.data.pipeline.transforms:
            if not isinstance(transform, LoadAnnotations):
                data = transform(data)
        if not isinstance(data['inputs'], torch.Tensor):
            raise ValueError(
                f'{self.name}: the test pipeline must give one picture of an image, '
                'but it augments'
            )
        return data

    @torch.no_grad()
    def predict(self, info: dict) -> np.ndarray:
        """(H, W) classes of the image, by the protocol of the config."""
        data = self.prepare(self.load(info))
        if self.network is None:
            sample = self.model.predict(**data)[0]
        else:
            sample = self.model.predict_as(self.network, **data)[0]
        return sample.pred_sem_seg.data[0].cpu().numpy()

    def prepare(self, item: dict) -> dict:
        """One packed image as in testing: inputs (1, 3, H, W) and data samples."""
        batch = dict(inputs=[item['inputs']], data_samples=[item['data_samples']])
        return self.model.data_preprocessor(batch, False)

    def batch(self, items: list[dict]) -> Batch:
        """Crops of one size as in training, normalised and on the device."""
        data = {key: [item[key] for item in items] for key in items[0]}
        preprocessor = self.model.data_preprocessor
        own = isinstance(preprocessor, SemiDataPreProcessor)
        return Batch(**preprocessor(data, own))


def load_network(
    source: Source, device: str | None, checkpoint: str | Path | None = None
) -> Network:
    """Build and load; ``checkpoint`` replaces the source's."""
    cfg = source.read_config()
    path = source.path if checkpoint is None else checkpoint
    content = read_checkpoint(path)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    _load_weights(model, content, path)
    known = [*model.networks, *model.pairs.means] if hasattr(model, 'networks') else []
    if source.network is not None and source.network not in known:
        raise ValueError(
            f'{source.name}: {type(model).__name__} has the networks {known}, '
            f'but got {source.network!r}'
        )
    model.to(device or get_device()).eval()
    data = evaluation_sets(cfg)[0]
    if not data.metainfo.get('classes'):
        raise ValueError(
            f'{source.name}: the test data of {source.config} have no names of '
            'classes: set metainfo=dict(classes=...)'
        )
    iteration = content.get('meta', {}).get('iter')
    return Network(source.name, cfg, model, source.network, data, iteration)


def _load_weights(model: nn.Module, content: dict, path: str | Path) -> None:
    """A picture of a network that is partly random would be wrong: all must be there.

    Auxiliary heads alone may be missing, as they do not predict.
    """
    require_fit(model, content, path)
    weights = content.get('state_dict', content)
    weights = {key.removeprefix('module.'): value for key, value in weights.items()}
    try:
        missing = model.load_state_dict(weights, strict=False).missing_keys
    except RuntimeError as error:  # of another shape
        raise ValueError(f'{path} is not of its config: {error}') from error
    missing = [k for k in missing if not re.search('auxiliary_head|num_batches', k)]
    if missing:
        raise ValueError(
            f'{path} is not of its config: it lacks {name_some(missing, 3)}'
        )


def load_networks(args: argparse.Namespace) -> list[Network]:
    """Load the networks of the arguments, which must have the same classes."""
    networks = [load_network(Source(text), args.device) for text in args.networks]
    names = [network.name for network in networks]
    if len(set(names)) < len(names):
        raise ValueError(f'networks must have different names, but got {names}')
    for network in networks[1:]:
        if network.classes != networks[0].classes:
            raise ValueError(
                f'networks must have the same classes, but {networks[0].name} has '
                f'{networks[0].classes} and {network.name} {network.classes}'
            )
    return networks


def evaluation_sets(cfg: Config) -> list:
    """The test data sets below wrappers; their files are not looked for yet."""
    if cfg.get('test_dataloader') is None:
        raise ValueError('the config has no test_dataloader')
    return lazy_datasets(cfg.test_dataloader.dataset)


def lazy_datasets(cfg: dict) -> list:
    return [DATASETS.build(dict(leaf, lazy_init=True)) for leaf in leaf_configs(cfg)]


def leaf_configs(cfg: dict) -> list[dict]:
    """The data sets below wrappers, as configs."""
    if 'datasets' in cfg:
        return [leaf for part in cfg['datasets'] for leaf in leaf_configs(part)]
    return leaf_configs(cfg['dataset']) if 'dataset' in cfg else [cfg]


def checkpoints_of(source: Source) -> list[Path]:
    """The checkpoint, or those of a folder by their iteration."""
    path = Path(source.path)
    if not path.is_dir():
        return [path]
    found = [p for p in path.glob('iter_*.pth') if p.stem[5:].isdecimal()]
    if not found:
        raise ValueError(f'{source.name}: {path} holds no iter_*.pth')
    return sorted(found, key=lambda p: int(p.stem[5:]))


# Images


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('networks', nargs='+', metavar=SHAPE)
    parser.add_argument('--device', help='such as cpu or cuda:1 [an accelerator]')


def feature_name(text: str) -> str | int:
    """The type of an argument ``--feature``."""
    return int(text) if re.fullmatch(r'-?\d+', text) else text


def add_image_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    group = parser.add_argument_group('images')
    group.add_argument(
        '--images',
        nargs='+',
        metavar='PATH',
        help=f'folders, patterns, .txt lists or images [{default}]',
    )
    group.add_argument('--image-dir', help='folder of the names in lists')
    group.add_argument(
        '--masks',
        metavar='DIR',
        help='the mask of a/b/1.jpg is a/b/1.png, b/1.png or 1.png below it',
    )
    group.add_argument('--mask-suffix', default='.png', help='[.png]')
    group.add_argument(
        '--count', type=int, default=8, help='images, drawn [%(default)s]'
    )
    group.add_argument('--seed', type=int, default=0, help='of the draw [0]')


def find_infos(args: argparse.Namespace, like: Any) -> list[dict]:
    """Data infos of the named images, with the label map of the data set ``like``."""
    found = UnlabeledDataset(args.images, image_dir=args.image_dir)
    infos = [found.get_data_info(index) for index in range(len(found))]
    index = FileIndex([args.mask_suffix])
    settings = dict(label_map=like.label_map, reduce_zero_label=like.reduce_zero_label)
    for info in infos:
        info.update(settings, seg_fields=[])
        if args.masks is not None:
            info['seg_map_path'] = _find_mask(index, args, info['img_path'])
    return infos


def one_info(image: str, mask: str | None, like: Any) -> dict:
    """Data info of one image, with the label map of the data set ``like``."""
    info = dict(img_path=existing_file(image, '--image'), seg_fields=[])
    info.update(label_map=like.label_map, reduce_zero_label=like.reduce_zero_label)
    if mask is not None:
        info['seg_map_path'] = existing_file(mask, '--mask')
    return info


def _find_mask(index: FileIndex, args: argparse.Namespace, image: str) -> str:
    parts = Path(image).with_suffix('').parts
    for start in range(len(parts)):
        name = '/'.join(part for part in parts[start:] if part != '/')
        path = index.find(args.masks, name + args.mask_suffix)
        if path is not None:
            return path
    raise FileNotFoundError(
        f'--masks {args.masks}: no mask {parts[-1]}{args.mask_suffix} of {image}'
    )


def dataset_infos(datasets: list) -> list[dict]:
    for dataset in datasets:
        dataset.full_init()
    return [data.get_data_info(i) for data in datasets for i in range(len(data))]


def draw(infos: list[dict], count: int, seed: int) -> list[dict]:
    """``count`` of them at random, in their order; all if there are no more."""
    if count < 1:
        raise ValueError(f'--count must be at least 1, but got {count}')
    chosen = np.random.default_rng(seed).permutation(len(infos))[:count]
    return [infos[i] for i in sorted(chosen)]


def read_image(network: Network, info: dict) -> tuple[np.ndarray, np.ndarray | None]:
    """Image (H, W, 3) BGR, and truth (H, W) or None, at the size of predictions."""
    kept = (LoadImageFromFile, LoadAnnotations, CenterCropEval)
    transforms = [t for t in network.data.pipeline.transforms if isinstance(t, kept)]
    place = [isinstance(t, LoadAnnotations) for t in transforms]
    if Path(info.get('seg_map_path') or '').is_file():
        if not any(place):
            load = TRANSFORMS.build(dict(type='LoadAnnotations'))
            transforms[1:1], place[1:1] = [load], [True]
        check = CheckLabels(len(network.classes))
        transforms.insert(place.index(True) + 1, check)
    else:
        transforms = [t for t, mask in zip(transforms, place, strict=True) if not mask]
    data = dict(info, seg_fields=[])
    for transform in transforms:
        data = transform(data)
    return data['img'], data.get('gt_seg_map')


def cut_truth(mask: np.ndarray, sample: Any) -> torch.Tensor:
    """(h, w) int64: the mask (H, W) of an image as a crop with ``coords`` shows it."""
    rows, cols = sample.coords.data.long()
    truth = torch.from_numpy(mask.astype(np.int64))[rows, cols]
    return torch.where(rows < 0, IGNORE_INDEX, truth)


# t-SNE


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


# Pictures


def legend(
    labels: list[np.ndarray], classes: list[str], palette: list, width: int
) -> np.ndarray:
    """(h, width, 3) BGR: colour and name of each class that the labels hold."""
    shown = np.unique(np.concatenate([np.unique(label) for label in labels]))
    font, scale, row = cv2.FONT_HERSHEY_SIMPLEX, 0.4, 18
    places, x, y = [], 4, 0
    for index in (i for i in shown if i < len(classes)):
        (length, _), _ = cv2.getTextSize(classes[index], font, scale, 1)
        if x > 4 and x + length + 28 > width:
            x, y = 4, y + row
        places.append((index, x, y))
        x += length + 28
    picture = np.full((y + row + 4, width, 3), 255, np.uint8)
    for index, x, y in places:
        colour = tuple(int(value) for value in palette[index][::-1])
        cv2.rectangle(picture, (x, y + 5), (x + 12, y + 17), colour, -1)
        start = (x + 17, y + 16)
        name = classes[index]
        cv2.putText(picture, name, start, font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise ValueError(f'cannot write the picture {path}')


def new_plot(columns: int = 1, rows: int = 1, size: tuple = (5, 3.2)):
    """Figure and axes of matplotlib, which needs no screen."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    width, height = size
    shape = (width * columns, height * rows)
    return plt.subplots(rows, columns, figsize=shape, dpi=120, layout='constrained')


def save_plot(figure, path: Path) -> None:
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ['---'] * len(head), *rows]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)


def run_tool(main: Callable[[], int]) -> None:
    """End the process with ``main()``; an error in an argument is one line."""
    try:
        sys.exit(main())
    except ERRORS as error:
        sys.exit(f'error: {error}')
