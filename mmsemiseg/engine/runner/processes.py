"""Several processes, with GPUs or without."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.dist import init_dist
from torch import nn

DDP = 'MMDistributedDataParallel'


def init_processes(launcher: str, settings: dict) -> None:
    """Connect the processes of a launcher on a machine without an accelerator.

    mmengine's own function chooses a CUDA device first, and NCCL.

    Args:
        launcher: Launcher of the processes: ``'pytorch'``, ``'slurm'`` or ``'mpi'``.
        settings: Settings of ``env_cfg.dist_cfg``; the backend is replaced by gloo.
    """
    with _without_cuda_device():
        init_dist(launcher, **dict(settings, backend='gloo'))


@contextmanager
def _without_cuda_device() -> Iterator[None]:
    set_device, torch.cuda.set_device = torch.cuda.set_device, lambda device: None
    try:
        yield
    finally:
        torch.cuda.set_device = set_device


def ddp_settings(cfg: dict | None, model: nn.Module, find_unused: bool | None) -> dict:
    """``model_wrapper_cfg`` completed for ``model``.

    Buffers are not broadcast: rank 0 would decide on BatchNorm statistics alone.
    Parameters without gradient are looked for where the config (``find_unused``) or
    else the model (``find_unused_parameters``) asks for it. A wrapper that is not
    mmengine's DDP is left as it is.
    """
    cfg = dict(cfg or {})
    if cfg.setdefault('type', DDP) == DDP:
        if find_unused is None:
            find_unused = getattr(model, 'find_unused_parameters', False)
        cfg.setdefault('find_unused_parameters', find_unused)
        cfg.setdefault('broadcast_buffers', False)
        if get_device() == 'cpu':
            cfg.setdefault('device_ids', None)
    return cfg
