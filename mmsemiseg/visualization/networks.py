"""Networks from checkpoints, as the command line of a figure names them."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadAnnotations
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

from ..datasets.files import name_some
from ..engine.checkpoints import read_checkpoint, require_fit
from ..models import Batch, SegmentorAdapter, SemiDataPreProcessor
from ..models.heads import BankContrastHead, unit_length
from ..utils.launch import existing_file
from .data_sets import evaluation_sets

SHAPE = 'NAME=CONFIG:CHECKPOINT[:NETWORK]'


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
        heads = getattr(contrast, 'head_pairs', ())
        if not len(heads):
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


def load_networks(texts: list[str], device: str | None) -> list[Network]:
    """Load networks that are named as in :class:`Source`, of the same classes."""
    networks = [load_network(Source(text), device) for text in texts]
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


def checkpoints_of(source: Source) -> list[Path]:
    """The checkpoint, or those of a folder by their iteration."""
    path = Path(source.path)
    if not path.is_dir():
        return [path]
    found = [p for p in path.glob('iter_*.pth') if p.stem[5:].isdecimal()]
    if not found:
        raise ValueError(f'{source.name}: {path} holds no iter_*.pth')
    return sorted(found, key=lambda p: int(p.stem[5:]))
