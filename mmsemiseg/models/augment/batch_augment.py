"""Random augmentation of a batch on its device: images and their maps together."""

from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import Tensor

from ...functional import PseudoLabel
from ...functional.pseudo_label import IGNORE_INDEX
from ...utils.layout import as_laid_out
from ...utils.profiling import stage
from ..data_preprocessor import Batch
from ..parts import build_part, errors_in
from .base import AugmentContext, BatchOp

LABEL_MAPS = ('gt_sem_seg', 'gt_edge_map')


class BatchAugment:
    """Augments a batch on its device by a list of operations, in their order.

    Each operation is drawn with a probability of its own. An image without any comes
    back bit-equal.

    Args:
        ops: Operations, in the order of their use.
    """

    def __init__(self, ops: Sequence[BatchOp] = ()) -> None:
        self.ops = list(ops)

    @torch.no_grad()
    @stage('augmentation')
    def __call__(
        self,
        images: Tensor,
        maps: dict[str, Tensor],
        fills: dict[str, float],
        *,
        preprocessor,
        label: str = 'label',
        mixing: bool = True,
        ignore_index: int = IGNORE_INDEX,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Augment images and maps by the same geometry; the inputs stay as they are.

        Args:
            images: Images (N, 3, H, W), float, as the preprocessor gives them.
            maps: Maps (N, H, W) of any type, which they keep. Where the bool map
                ``valid`` is False, colours and blur change nothing.
            fills: Value of each map where scaling leaves padding; images get 0.
            preprocessor: :class:`~mmsemiseg.models.SemiDataPreProcessor` that made the
                images.
            label: Name of the map of the classes, 0 to 254.
            mixing: Whether operations that mix images may be used in this call.
            ignore_index: Label of unlabeled pixels, which no mixing pastes.
        """
        _check_maps(images, maps, fills)
        given, moved = images, dict(maps)
        if 'valid' not in maps:
            moved['valid'] = images.new_ones(images[:, 0].shape, dtype=torch.bool)
        fills = dict(dict(valid=False), **fills)
        context = AugmentContext(fills, label, ignore_index, preprocessor)
        with torch.autocast(images.device.type, enabled=False):
            for op in self.ops:
                if mixing or not op.mixes:
                    images, moved = op(images, moved, context)
        return as_laid_out(images, given), {name: moved[name] for name in maps}

    def labeled(self, model, batch: Batch) -> Batch:
        """Labeled images of a method, and the maps of their data samples with them.

        Padding that scaling leaves has the label ``model.ignore_index``.
        """
        maps = {
            name: torch.cat([getattr(one, name).data for one in batch.data_samples])
            for name in (*LABEL_MAPS, 'valid_map')
            if name in batch.data_samples[0]
        }
        valid = maps.pop('valid_map')
        images, maps = self(
            batch.inputs,
            dict(maps, valid=valid),
            dict.fromkeys(LABEL_MAPS, model.ignore_index),
            preprocessor=model.data_preprocessor,
            label='gt_sem_seg',
            ignore_index=model.ignore_index,
        )
        maps['valid_map'] = maps.pop('valid')
        samples = []
        for index, old in enumerate(batch.data_samples):
            sample = SegDataSample(metainfo=old.metainfo)
            for name, values in maps.items():
                setattr(sample, name, PixelData(data=values[index][None]))
            samples.append(sample)
        return Batch(images, samples)

    def unlabeled(
        self,
        model,
        images: Tensor,
        pseudo: PseudoLabel,
        number: int,
        mixing: bool = True,
    ) -> tuple[Tensor, PseudoLabel]:
        """Several augmentations of images (N, ...) and their pseudo labels.

        Args:
            model: Method that learns from the images.
            images: Images of one view.
            pseudo: Hard pseudo labels of them.
            number: Number A of augmentations, which come as (A * N, ...).
            mixing: Whether operations that mix images may be used.
        """
        maps = dict(
            label=pseudo.label, confidence=pseudo.confidence, valid=pseudo.valid
        )
        fills = dict(label=IGNORE_INDEX, confidence=0)
        settings = dict(preprocessor=model.data_preprocessor, mixing=mixing)
        views = [self(images, maps, fills, **settings) for _ in range(number)]
        images = torch.cat([view for view, _ in views])
        maps = {name: torch.cat([moved[name] for _, moved in views]) for name in maps}
        return images, PseudoLabel(**maps)


def build_augment(
    cfg: Sequence[Mapping] | None, name: str = 'augment', bands: int = 3
) -> BatchAugment:
    """Build the augmentation of a list of settings; errors name the operation.

    Args:
        cfg: Settings of the operations, ``[dict(type=..., prob=..., ...), ...]``, whose
            types are registered in ``MODELS`` of mmseg; None: no augmentation.
        name: Setting that holds the list, such as ``'model.strong_augment'``.
        bands: Number of bands of the images.

    Raises:
        ValueError: ``cfg`` is no list, or a setting is unknown, missing or wrong.

    >>> build_augment([dict(type='BatchFlip', prob=2)], 'model.strong_augment')
    Traceback (most recent call last):
    ValueError: model.strong_augment[0].prob must be in [0, 1], but got 2
    """
    if cfg is not None and not isinstance(cfg, (list, tuple)):
        raise ValueError(
            f'{name} must be a list of operations, [dict(type=..., prob=...), ...], '
            f'or None, but got {cfg!r}'
        )
    ops = []
    for index, one in enumerate(cfg or ()):
        path = f'{name}[{index}]'
        if one is None:
            raise ValueError(f'{path} must be dict(type=..., ...), but got None')
        op = build_part(one, path, base=BatchOp)
        with errors_in(path, ['prob']):
            op.check_bands(bands)
        ops.append(op)
    return BatchAugment(ops)


def _check_maps(images: Tensor, maps: dict, fills: dict) -> None:
    for name, value in maps.items():
        if value.shape != images[:, 0].shape:
            raise ValueError(
                f'the map {name!r} must have the shape {tuple(images[:, 0].shape)} of '
                f'the images, but has {tuple(value.shape)}'
            )
        if name not in fills and name != 'valid':
            raise ValueError(f'fills must have a value for the map {name!r}')
