"""Batches of generated images that go through the pipelines of a config."""

import numpy as np
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import TRANSFORMS

from ..datasets.transforms.strict_compose import StrictCompose
from ..utils.config_parts import leaf_configs

BLOCK = 16  # pixels of the squares of one class in generated masks


def generated_batches(
    cfg: Config,
    classes: int,
    numbers: dict[str, int | None],
    size: tuple[int, int] | None = None,
) -> dict:
    """``{stream: collated batch}``, as the training loop gets it.

    Nothing is resized, so that every pixel of a crop is valid.

    Args:
        cfg: Config with the training streams.
        classes: Number of classes in the generated masks.
        numbers: Images of a stream, by its name; by default its ``batch_size``.
        size: Size (H, W) of the crops; None: that of the config.
    """
    batches = {}
    for name, loader in cfg.train_dataloader.items():
        number = numbers.get(name) or loader.batch_size
        leaf = leaf_configs(loader.dataset)[0]
        samples = [_sample(leaf, name, i, classes, size) for i in range(number)]
        batches[name] = pseudo_collate(samples)
    return batches


def _sample(leaf: dict, stream: str, index: int, classes: int, size) -> dict:
    labeled = _mentions(leaf.pipeline, 'LoadAnnotations')
    transforms = _without_files(leaf.pipeline, size)
    crop = _crop_size(transforms)
    if crop is None and size is None:
        raise ValueError(
            f'the pipeline of stream {stream} has no crop_size: give --size'
        )
    shape = tuple(size) if crop is None else tuple(2 * side for side in crop)
    results = dict(
        img=np.random.randint(256, size=(*shape, 3), dtype=np.uint8),
        img_path=f'{stream}-{index}.png',
        img_shape=shape,
        ori_shape=shape,
        seg_fields=[],
        reduce_zero_label=False,
    )
    if labeled:
        blocks = np.random.randint(classes, size=[-(-s // BLOCK) for s in shape])
        mask = np.kron(blocks, np.ones((BLOCK, BLOCK), int))[: shape[0], : shape[1]]
        results.update(gt_seg_map=mask.astype(np.uint8), seg_fields=['gt_seg_map'])
    return StrictCompose([TRANSFORMS.build(t) for t in transforms])(results)


def _without_files(pipeline, size) -> list:
    """No loading, no resizing; crops of ``size`` where it is given."""
    kept = []
    for transform in pipeline:
        kind = str(transform.get('type'))
        if not (kind.startswith('Load') or kind.endswith('Resize')):
            kept.append(_edited(transform, size))
    return kept


def _edited(cfg, size):
    if isinstance(cfg, (list, tuple)) and all(_is_transform(c) for c in cfg):
        return _without_files(cfg, size)
    if not isinstance(cfg, dict):
        return cfg
    edited = {key: _edited(value, size) for key, value in cfg.items()}
    if size is not None and 'crop_size' in edited:
        edited['crop_size'] = tuple(size)
    return edited


def _is_transform(cfg) -> bool:
    return isinstance(cfg, dict) and 'type' in cfg


def _crop_size(cfg) -> tuple[int, int] | None:
    """The first ``crop_size`` in it."""
    if isinstance(cfg, dict) and cfg.get('crop_size') is not None:
        side = cfg['crop_size']
        return (side, side) if isinstance(side, int) else tuple(side)
    parts = cfg.values() if isinstance(cfg, dict) else cfg
    nested = (_crop_size(p) for p in parts if isinstance(p, (dict, list, tuple)))
    return next((crop for crop in nested if crop is not None), None)


def _mentions(cfg, kind: str) -> bool:
    if isinstance(cfg, dict):
        return cfg.get('type') == kind or any(_mentions(v, kind) for v in cfg.values())
    return isinstance(cfg, (list, tuple)) and any(_mentions(v, kind) for v in cfg)
