"""Images of a figure, and the truth of their pixels."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmseg.registry import TRANSFORMS

from ..datasets.files import FileIndex
from ..datasets.transforms import CenterCropEval, CheckLabels
from ..datasets.unlabeled import UnlabeledDataset
from ..functional.pseudo_label import IGNORE_INDEX
from ..utils.launch import existing_file
from .networks import Network


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
