"""A tiny segmentor and tiny batches."""

import mmseg
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models import SegDataPreProcessor  # noqa: F401, fills the registry
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn

from mmsemiseg.models import Batch

CLASSES = 3
# mmsegmentation 1.2.2 takes the class weight of the ignored class 255: IndexError
WEIGHTS_IGNORED = mmseg.__version__ != '1.2.2'
SIZE = (32, 32)


def student_cfg(**settings):
    """FCN on a ResNet-18 an eighth as wide; 32x32 images have 4x4 logits."""
    head = dict(
        type='FCNHead',
        in_channels=64,
        in_index=3,
        channels=8,
        num_convs=1,
        num_classes=CLASSES,
        dropout_ratio=0,
        norm_cfg=dict(type='BN'),
    )
    backbone = dict(
        type='ResNetV1c',
        depth=18,
        base_channels=8,
        stem_channels=8,
        strides=(1, 2, 2, 1),
        dilations=(1, 1, 1, 2),
        norm_cfg=dict(type='BN'),
    )
    head.update(settings.pop('decode_head', {}))
    backbone.update(settings.pop('backbone', {}))
    return dict(
        type='EncoderDecoder',
        backbone=backbone,
        decode_head=head,
        test_cfg=ConfigDict(mode='whole'),
        **settings,
    )


def build(cfg, seed=0):
    """Build and initialise a segmentor, the same for one seed."""
    register_all_modules()
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    model.init_weights()
    return model


def spread(net, seed=0, scale=1.0):
    """Give a segmentor (or backbone) random weights and statistics that fit them.

    Its confidences in eval mode then lie all over the range, its labels are mixed.
    """
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    with torch.no_grad():
        for param in net.parameters():
            noise = torch.rand(param.shape, generator=generator) - 0.5
            param += scale * noise * (4 if param.shape[2:] == (1, 1) else 1)
        before = [(m.training, m.momentum) for m in norms]
        for norm in norms:
            norm.training, norm.momentum = True, 1.0
        net(torch.randn(8, 3, *SIZE, generator=generator))
        for norm, state in zip(norms, before, strict=True):
            norm.training, norm.momentum = state
    return net


def sample(seed=0, size=SIZE, labels=True, valid=None):
    generator = torch.Generator().manual_seed(seed)
    data_sample = SegDataSample(
        metainfo=dict(
            img_path=f'{seed}.png',
            img_shape=tuple(size),
            ori_shape=tuple(size),
            pad_shape=tuple(size),
            padding_size=[0] * 4,
        )
    )
    if labels:
        label = torch.randint(CLASSES, (1, *size), generator=generator)
        data_sample.gt_sem_seg = PixelData(data=label)
    if valid is None:
        valid = torch.ones(size, dtype=torch.bool)
    data_sample.valid_map = PixelData(data=valid[None])
    return data_sample


def batch(n=2, seed=0, size=SIZE, labels=True, valid=None):
    """A :class:`Batch` as the preprocessor gives it."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, 3, *size, generator=generator)
    samples = [sample(100 * seed + i, size, labels, valid) for i in range(n)]
    return Batch(images, samples)


def streams(n=2, size=SIZE, valid=None, seed=0):
    """One labeled stream and one unlabeled one with a weak and a strong view."""
    weak = batch(n, seed + 1, size, labels=False, valid=valid)
    noise = batch(n, seed + 2, size, labels=False).inputs
    strong = Batch(weak.inputs + 0.1 * noise, weak.data_samples)
    return dict(
        labeled=batch(n, seed, size),
        unlabeled=dict(weak=weak, strong=strong),
    )


def total(losses):
    """What mmengine's ``parse_losses`` sums."""
    return sum(value for key, value in losses.items() if 'loss' in key)


def frozen_copy(model):
    return {key: value.clone() for key, value in model.state_dict().items()}
