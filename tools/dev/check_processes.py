"""Training steps in a process group of one process, as a launcher makes it."""

import math
import os
import socket

import torch
import torch.distributed as dist
from check_rows import Rows
from check_setup import chosen_methods, iterate, method_config, run_method
from mmengine.runner import Runner
from torch import nn

STEPS = 3


def run(rows: Rows, args) -> None:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = server.getsockname()[1]
    os.environ.update(
        RANK='0',
        LOCAL_RANK='0',
        WORLD_SIZE='1',
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=str(port),
    )
    for method in chosen_methods(args):
        if rows.has_time(method, 5):
            with rows.guarded(method):
                check_method(rows, method, args.device)
    if dist.is_initialized():
        with rows.guarded('all_reduce, all_gather'):
            check_collectives(rows, args.device)
        dist.destroy_process_group()


def check_method(rows: Rows, method: str, device: str) -> None:
    """Some steps under DDP, on a GPU with SyncBN and NCCL."""
    losses: list[float] = []

    def step(runner: Runner, batches: list) -> bool:
        iterate(runner, batches)
        losses.append(float(runner.message_hub.get_scalar('train/loss').current()))
        return len(losses) == STEPS

    with method_config(method, small=True) as cfg:
        cfg.launcher = 'pytorch'
        if device == 'cuda':
            cfg.sync_bn = 'torch'
        runner = run_method(cfg, step)
    modules = list(runner.model.modules())
    synced = sum(isinstance(module, nn.SyncBatchNorm) for module in modules)
    wrapper, backend = type(runner.model).__name__, dist.get_backend()
    expected = 'nccl' if device == 'cuda' else 'gloo'
    good = all(map(math.isfinite, losses)) and backend == expected
    good &= wrapper.endswith('DistributedDataParallel')
    good &= synced > 0 or device == 'cpu'
    value = f'{backend}, {wrapper}, {synced} SyncBatchNorm, loss {losses[-1]:.3f}'
    rows.passed(method, good, value, losses=losses)


def check_collectives(rows: Rows, device: str) -> None:
    values = torch.arange(4.0, device=device)
    total, parts = values.clone(), [torch.empty_like(values)]
    dist.all_reduce(total)
    dist.all_gather(parts, values)
    good = torch.equal(total, values) and torch.equal(parts[0], values)
    rows.passed('all_reduce, all_gather', good, dist.get_backend())
