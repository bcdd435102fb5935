"""Cases that two processes run together, through gloo.

``two_processes()`` starts them once for a list of cases and returns what each process
left. Cases are the functions marked by ``@case``; their order is that of the list.
"""

import functools
import tempfile
from pathlib import Path

import tiny_run
import torch
from forked import distributed, on_two_ranks
from helpers import build, frozen_copy, spread, student_cfg
from mmengine.dist import barrier, get_rank
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmseg.registry import MODELS
from torch import nn

from mmsemiseg.engine import runner as runners
from mmsemiseg.engine.checkpoints import run_folder
from mmsemiseg.engine.hooks import (
    BatchNormReestimationHook,
    BatchNormSyncHook,
    MemoryHook,
)
from mmsemiseg.models import MeanTeacher
from mmsemiseg.utils.gather import copy_from_first, gather_rows, gather_rows_to_first
from mmsemiseg.utils.model import unwrap
from mmsemiseg.utils.random_state import random_state

CASES = {}
PARTS = ('gathered', 'statistics', 'reestimated', 'remembered', 'one_remembers')


def case(function):
    CASES[function.__name__] = function
    return function


def two_processes(folder, *names):
    """{case: [result of rank 0, result of rank 1]}."""
    tiny_run.write_data(folder / 'data', labeled=5, unlabeled=7)
    first, second = on_two_ranks(_run_cases, folder, *names)
    return {name: [first[name], second[name]] for name in names}


def _run_cases(folder, *names):
    return {name: CASES[name](folder) for name in names}


@functools.cache
def parts():
    """Results of the cases that train nothing, for all tests of one session."""
    with tempfile.TemporaryDirectory() as folder:
        return two_processes(Path(folder), *PARTS)


# Configs


def config(folder, name, model=None, **settings):
    """Mean teacher with every generator in use, on two processes."""
    model = model or tiny_run.mean_teacher()
    hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    settings = dict(custom_hooks=hooks, **settings)
    return distributed(
        tiny_run.config(folder / 'data', folder / name, model, **settings)
    )


def deterministic(folder, name, images=(4, 6), accumulation=1, **settings):
    """A run whose weights depend on the images of a step, not on how they are split.

    ``images``: labeled and unlabeled ones of one batch of one process.
    """
    student = tiny_run.tiny_student()
    norm = dict(type='GN', num_groups=2)
    student['backbone']['norm_cfg'] = norm
    student['decode_head'].update(norm_cfg=norm, dropout_ratio=0)
    model = dict(
        type='MeanTeacher', student=student, pseudo_loss=dict(threshold=0.0), mix=None
    )
    schedule = dict(type='PolyLR', eta_min=1e-3, end=4, by_epoch=False)
    settings.setdefault('max_iters', 4)
    settings['param_scheduler'] = [dict(schedule)]
    cfg = tiny_run.config(folder / 'data', folder / name, model, **settings)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=1)
    cfg.train_cfg.accumulation = accumulation
    streams = cfg.train_dataloader.values()
    for stream, count in zip(streams, images, strict=True):
        stream.batch_size = count
    return cfg


class Drawn(Hook):
    """Names of the images of each iteration; stops the run after one of them."""

    def __init__(self, stop_after=None):
        self.names = []
        self.stop_after = stop_after

    def before_train(self, runner):
        self.first = copied(runner)
        self.random = random_state()

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.names.append({key: names(part) for key, part in data_batch.items()})

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.stop_after:
            raise KeyboardInterrupt


def names(part):
    part = part.get('weak', part)
    return [Path(sample.img_path).name for sample in part['data_samples']]


def copied(runner):
    return frozen_copy(unwrap(runner.model))


def trained(cfg, stop_after=None):
    """What a run leaves."""
    hook = Drawn(stop_after)
    runner = tiny_run.build(cfg)
    runner.register_hook(hook)
    try:
        runner.train()
    except KeyboardInterrupt:
        assert stop_after is not None
    scalars = runner.message_hub.log_scalars
    return dict(
        state=copied(runner),
        first=hook.first,
        names=hook.names,
        start=hook.random,
        end=random_state(),
        seed=runner.seed,
        lr=runner.optim_wrapper.get_lr()['lr'],
        loss=scalars['train/loss'].data[0].tolist(),
        drawn=getattr(runner.train_loop, 'drawn', None),
        norms={type(m).__name__ for m in runner.model.modules()},
    )


# Runs


@MODELS.register_module(force=True)
class BankTeacher(MeanTeacher):
    """Mean teacher with a queue of rows that name where they come from.

    A row is (rank, iteration, number, a mean of the labeled images).
    """

    counts = ((2, 3), (0, 1), (1, 0), (0, 0), (3, 2), (1, 1))  # by iteration and rank
    size = 9

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.register_buffer('bank', torch.rand(self.size, 4))
        self.register_buffer('pointer', torch.tensor(0))
        self.register_buffer('noise', torch.rand(3))

    def step(self, streams):
        count = self.counts[self.iteration][get_rank()]
        mean = streams.labeled.inputs.mean()
        rows = [[get_rank(), self.iteration, i, mean] for i in range(count)]
        self.step_outputs['memory'] = dict(
            keys=torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
        )
        return super().step(streams)

    def update_memory(self, keys):
        place = (self.pointer + torch.arange(len(keys))) % self.size
        self.bank[place] = keys
        self.pointer.copy_((self.pointer + len(keys)) % self.size)


@case
def bank(folder):
    cfg = config(folder, 'bank', dict(tiny_run.mean_teacher(), type='BankTeacher'))
    cfg.train_cfg.max_iters = len(BankTeacher.counts)
    cfg.custom_hooks.append(dict(type='MemoryHook'))
    return trained(cfg)


@case
def reloaded(folder):
    """The best weights after each validation that finds nothing better."""
    cfg = config(folder, 'reloaded')
    cfg.train_cfg.val_interval = 1
    cfg.default_hooks.checkpoint.save_best = 'student/mIoU'
    cfg.custom_hooks.append(dict(type='ReloadBestHook', patience=1))
    result = trained(cfg)
    hub = MessageHub.get_current_instance()
    return dict(result, reload=dict(hub.get_info('reload_best')))


@case
def without_seed(folder):
    cfg = config(folder, 'without_seed', max_iters=1)
    cfg.randomness = dict(seed=None, diff_rank_seed=True)
    return trained(cfg)


@case
def split(folder):
    return trained(distributed(deterministic(folder, 'split', (2, 3))))


@case
def split_and_accumulated(folder):
    cfg = deterministic(folder, 'split_and_accumulated', (1, 3), accumulation=2)
    return trained(distributed(cfg))


@case
def validation(folder):
    return validated(config(folder, 'validation'))


def validated(cfg):
    """Metrics of networks that differ from each other and predict every class."""
    runner = tiny_run.build(cfg)
    for seed, net in enumerate(unwrap(runner.model).networks.values()):
        spread(net, seed)
    return runner.val()


def resumable(folder, name, workers=0, **settings):
    cfg = config(folder, name, max_iters=5, workers=workers, **settings)
    cfg.train_cfg.val_interval = 3
    cfg.default_hooks.checkpoint.interval = 2
    return cfg


@case
def whole(folder):
    return trained(resumable(folder, 'whole'))


@case
def stopped(folder):
    return trained(resumable(folder, 'stopped'), stop_after=3)


@case
def resumed(folder):
    """From the newest checkpoint that is not damaged."""
    if get_rank() == 0:
        damaged = folder / 'stopped' / 'iter_3.pth'
        damaged.write_bytes((folder / 'stopped' / 'iter_2.pth').read_bytes()[:5000])
        (folder / 'stopped' / 'last_checkpoint').write_text(str(damaged))
    return trained(resumable(folder, 'stopped', workers=2, resume='auto'))


@MODELS.register_module(force=True)
class WarmUp(MeanTeacher):
    """A projector that rank 0 uses from iteration 2 on, rank 1 from iteration 4 on."""

    find_unused_parameters = True

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.projector = nn.Conv2d(3, 2, 1)

    def step(self, streams):
        losses = super().step(streams)
        if self.iteration >= (2, 4)[get_rank()]:
            projected = self.projector(streams['unlabeled']['weak'].inputs)
            losses['loss_projected'] = projected.square().mean()
        return losses


@MODELS.register_module(force=True)
class UndeclaredWarmUp(WarmUp):
    find_unused_parameters = False


def warm_up_cfg(folder, name, kind='WarmUp', **settings):
    model = dict(tiny_run.mean_teacher(), type=kind)
    return config(folder, name, model, max_iters=6, **settings)


@case
def warm_up(folder):
    return trained(warm_up_cfg(folder, 'warm_up'))


@case
def warm_up_accumulated(folder):
    cfg = warm_up_cfg(folder, 'warm_up_accumulated')
    cfg.train_cfg.accumulation = 2
    return trained(cfg)


@case
def warm_up_by_config(folder):
    kind = 'UndeclaredWarmUp'
    settings = dict(find_unused_parameters=True)
    return trained(warm_up_cfg(folder, 'warm_up_by_config', kind, **settings))


@case
def undeclared(folder):
    try:
        trained(warm_up_cfg(folder, 'undeclared', 'UndeclaredWarmUp'))
    except RuntimeError as error:
        return str(error)


@MODELS.register_module(force=True)
class OneUnsure(MeanTeacher):
    """On rank 1 no pixel is confident in the iterations 1 to 3."""

    def pseudo_labels(self, images, valid):
        pseudo = super().pseudo_labels(images, valid)
        if get_rank() == 1 and 1 <= self.iteration <= 3:
            return pseudo._replace(confidence=torch.zeros_like(pseudo.confidence))
        return pseudo


@case
def one_unsure(folder):
    """And the weight of the unsupervised loss is 0 before iteration 3."""
    model = dict(
        tiny_run.mean_teacher(
            pseudo_loss=dict(norm='weights', ramp_up=dict(kind='step', length=3))
        ),
        type='OneUnsure',
    )
    model['pseudo_loss']['threshold'] = 0.01
    return trained(config(folder, 'one_unsure', model, max_iters=5))


@case
def sync_bn(folder):
    model = tiny_run.mean_teacher()
    model['student']['backbone']['norm_cfg'] = dict(type='SyncBN')
    return trained(config(folder, 'sync_bn', model, max_iters=2, sync_bn='torch'))


@case
def sync_buffers(folder):
    cfg = config(folder, 'sync_buffers')
    cfg.custom_hooks.append(dict(type='SyncBuffersHook'))
    try:
        tiny_run.build(cfg)
    except ValueError as error:
        return str(error)


@case
def self_training(folder):
    """In the folder of an earlier run; with the files that this process has moved."""
    cfg = config(folder, 'self_training', tiny_run.sup_only(), max_iters=2)
    cfg.runner_type = 'SelfTrainingRunner'
    cfg.train_dataloader.pop('unlabeled')
    cfg.custom_hooks = []
    unlabeled = dict(
        type='UnlabeledDataset',
        data_root=str(folder / 'data'),
        images='unlabeled/images',
    )
    cfg.self_training = dict(unlabeled=unlabeled, batch_size=1)
    moved = []

    def move(folder, name):
        moved.extend(run_folder.move_earlier_checkpoints(folder, name))

    runners.self_training.move_earlier_checkpoints = move
    if get_rank() == 0:
        for path in ('teacher/iter_9.pth', 'pseudo_masks/index.json'):
            path = folder / 'self_training' / path
            path.parent.mkdir(parents=True)
            path.write_text('[]')
    barrier()
    model = unwrap(tiny_run.build(cfg).train())
    return dict(state=frozen_copy(model), moved=[Path(path).name for path in moved])


# Parts


@case
def gathered(folder):
    """`gather_rows` for numbers of rows on the two ranks, types and shapes."""
    rank = get_rank()
    results = {}
    for counts in ((2, 2), (1, 3), (0, 2), (2, 0), (0, 0)):
        rows = torch.arange(counts[rank] * 2).reshape(-1, 2) + 100 * rank
        results[counts] = gather_rows(rows)
    rows = torch.arange(6).reshape(3, 2)[:, 1:] + 10 * rank  # not contiguous
    for dtype in (torch.float32, torch.float64, torch.float16, torch.uint8, torch.bool):
        results[dtype] = gather_rows(rows.to(dtype))
    results['no columns'] = gather_rows(torch.arange(rank + 1))
    results['large'] = gather_rows(torch.full((rank, 3, 2, 2), 0.5))
    for counts in ((2, 2), (0, 2), (2, 0), (0, 0)):
        rows = torch.arange(counts[rank] * 2.0).reshape(-1, 2) + 100 * rank
        results[('first', *counts)] = gather_rows_to_first(rows.half())
    results['copied'] = torch.full((2,), float(rank)), torch.tensor([rank == 0, True])
    copy_from_first(*results['copied'])
    return results


class FakeRunner:
    def __init__(self, model, step_outputs=None):
        self.model = model
        self.train_loop = self
        if step_outputs is not None:
            self.step_outputs = step_outputs


@case
def statistics(folder):
    """Of BatchNorm on each rank, before and after they were averaged.

    One layer is frozen, one is synchronous.
    """
    rank = get_rank()
    model = build(student_cfg())
    model.register_buffer('counter', torch.tensor(rank))
    model.register_buffer('queue', torch.full((2, 3), float(rank)))
    frozen = model.decode_head.convs[0].bn
    synchronous = model.backbone.layer1[0].bn1 = nn.SyncBatchNorm(8)
    for norm in (frozen, synchronous):
        norm.eval().running_mean.fill_(rank)
    model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(rank)))
    synchronous.train()
    before = frozen_copy(model)
    BatchNormSyncHook().after_train_iter(FakeRunner(model), 0)
    return before, frozen_copy(model)


@case
def reestimated(folder):
    """Before and after; 3 batches are asked for."""
    runner = tiny_run.build(config(folder, 'reestimated'))
    before = copied(runner)
    BatchNormReestimationHook(batches=3).reestimate(runner)
    return dict(before=before, after=copied(runner))


class Memory(nn.Module):
    def update_memory(self, **rows):
        self.rows = rows


@case
def remembered(folder):
    """Two batches on each rank, of different numbers of rows."""
    model, rank = Memory(), get_rank()
    batches = [
        dict(memory=dict(keys=rows, labels=rows[:, 0].long()))
        for rows in (torch.full((rank, 2), rank), torch.full((2, 2), 10.0 + rank))
    ]
    batches.insert(1, {})
    MemoryHook().after_step(FakeRunner(model, batches))
    return model.rows


@case
def one_remembers(folder):
    """Only rank 0 leaves something."""
    left = [dict(memory=dict(keys=torch.ones(1, 2)))] if get_rank() == 0 else [{}]
    try:
        MemoryHook().after_step(FakeRunner(Memory(), left))
    except RuntimeError as error:
        return str(error)
