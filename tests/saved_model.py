"""A checkpoint of random weights as a run saves it, and images to predict."""

import copy

import numpy as np
import torch
from helpers import CLASSES, build, spread
from mmengine.config import Config
from PIL import Image
from tiny_run import METAINFO, TEST_PIPELINE, mean_teacher

from mmsemiseg.engine.checkpoints import plain_values

RESIZE = dict(type='Resize', scale=(48, 48), keep_ratio=True)
PIPELINE = [TEST_PIPELINE[0], RESIZE, *TEST_PIPELINE[1:]]


def run_config(model, **settings):
    test = dict(dataset=dict(type='FolderSegDataset', pipeline=PIPELINE))
    cfg = dict(default_scope='mmseg', model=model, test_dataloader=test, **settings)
    return Config(copy.deepcopy(cfg))


def save_model(path, model=None, with_config=True, meta=None, **settings):
    """The model, whose checkpoint is at the path."""
    model = model or mean_teacher(predict_with='teacher')
    cfg = run_config(model, **settings)
    built = build(cfg.model).eval()
    networks = getattr(built, 'networks', dict(plain=built))
    for seed, network in enumerate(networks.values()):
        if not hasattr(network.decode_head, 'num_queries'):  # it wants data samples
            spread(network, seed)
    content = dict(state_dict=built.state_dict(), meta=dict(dataset_meta=METAINFO))
    content['meta'].update(meta or {})
    if with_config:
        content['meta']['cfg'] = cfg.pretty_text
    torch.save(plain_values(content), path)
    return built


def write_images(folder, sizes):
    """Images by relative path, of (height, width)."""
    rng = np.random.default_rng(0)
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        blocks = rng.integers(0, 256, (*(-(-side // 8) for side in size), 3))
        pixels = np.kron(blocks, np.ones((8, 8, 1)))[: size[0], : size[1]]
        Image.fromarray(pixels.astype(np.uint8)).save(folder / name)
    return folder


def read_mask(path):
    mask = np.array(Image.open(path))
    assert mask.ndim == 2 and mask.max() < CLASSES
    return mask
