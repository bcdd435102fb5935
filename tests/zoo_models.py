"""Models of the zoo, with images and labels for them."""

import copy

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn
from zoo import CLASSES, ZOO

# The layer that turns features into the main logits bit for bit.
LINEAR = [name for name in ZOO if name not in ('knet', 'segmenter')]


def build(config):
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(copy.deepcopy(config)))


def images(n=2):
    return torch.randn(n, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def samples(n=2):
    generator = torch.Generator().manual_seed(2)
    found = []
    for _ in range(n):
        label = torch.randint(CLASSES, (1, 64, 96), generator=generator)
        found.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    return found


def without_randomness(net):
    """In training mode, but for dropout; the statistics of BatchNorm do not matter."""
    for module in net.train().modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d, DropPath)):
            module.eval()
    return net


def last_head(segmentor):
    head = segmentor.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def hook_count(segmentor):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in segmentor.modules()
    )
