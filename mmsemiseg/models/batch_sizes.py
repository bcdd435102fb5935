"""BatchNorm after pooling over the whole image needs two images in a pass."""

from collections.abc import Mapping

import torch
from mmengine.dist import get_world_size
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from .head_rules import rule_of

SIDE = 128  # pixels of a probing image: no stride makes a single cell of it


def check_batch_sizes(model: nn.Module, sizes: Mapping[str, int]) -> None:
    """Refuse batches of one image where a BatchNorm of a student cannot train.

    Args:
        model: Method that is trained.
        sizes: Number of images of a batch in each process, by stream.

    Raises:
        ValueError: Names stream, head, layer and the ways out.
    """
    # SupOnly names its streams; CMB augments each unlabeled image several times
    used = getattr(model, 'extra_streams', sizes)
    images = {n: size for n, size in sizes.items() if n in used or n == 'labeled'}
    if 'unlabeled' in images:
        images['unlabeled'] *= getattr(model, 'num_augments', 1)
    single = [name for name, count in images.items() if count == 1]
    if not single:
        return
    norms = single_value_norms(model.student)
    for stream in single:
        for path in norms:
            part = path.partition('.')[0]
            if stream == 'unlabeled' and part == 'auxiliary_head':
                continue  # runs on labels alone
            kind = type(getattr(model.student, part)).__name__
            raise ValueError(
                f"stream '{stream}' has batch_size=1 in each process, but {part} "
                f'({kind}) pools over the whole image before a BatchNorm, {path}, '
                'which then has one value for each channel and cannot normalise it. '
                f'Either set train_dataloader.{stream}.batch_size=2 (or more); or '
                f'give {part} another norm_cfg, such as dict(type="GN", '
                'num_groups=32), or SyncBN on several GPUs; or switch off its pooling '
                'over the whole image (pool_scales without 1, a head without an '
                'image-pooling branch)'
            )


def single_value_norms(segmentor: nn.Module) -> list[str]:
    """BatchNorms that see one value per channel of an image while it trains.

    One image of zeros is run in eval mode, so no statistics change. Where that fails,
    as with backbones for one size of images, none is found.
    """
    training = {module: module.training for module in segmentor.modules()}
    segmentor.train()
    norms = {
        path: module
        for path, module in segmentor.named_modules()
        if isinstance(module, _BatchNorm) and module.training and not _synced(module)
    }
    single, handles = [], []
    for path, norm in norms.items():

        def see(module, args, path=path):
            if args[0][:, :1].numel() == 1:
                single.append(path)

        handles.append(norm.register_forward_pre_hook(see))
    segmentor.eval()
    try:
        _forward(segmentor)
    except Exception:  # not for this size: the first iteration will tell
        return []
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    return single


def _synced(norm: nn.Module) -> bool:
    return isinstance(norm, nn.SyncBatchNorm) and get_world_size() > 1


@torch.no_grad()
def _forward(segmentor: nn.Module) -> None:
    param = next(segmentor.parameters())
    maps = segmentor.extract_feat(param.new_zeros(1, 3, SIDE, SIDE))
    rule_of(segmentor).decode(segmentor, maps, feature=False)
    others = getattr(segmentor, 'auxiliary_head', None)
    for head in others if isinstance(others, nn.ModuleList) else [others]:
        if head is not None:
            head(maps)
