"""Every config loads, and its model and its pipelines build."""

import re
from types import SimpleNamespace

import pytest
import torch
from config_files import PATHS, ROOT, load, named, schedulers, stem_of
from configs_of_esl import epochs_of_esl
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import HOOKS, LOOPS, MODELS, RUNNERS
from mmseg.structures import SegDataSample

from mmsemiseg.engine.runner.schedules import (
    describe_schedules,
    describe_starts,
    is_warm_up,
    named_schedulers,
)


def pipelines(cfg):
    """All lists under the key ``pipeline``, wrapped data sets included."""
    if isinstance(cfg, dict):
        for key, value in cfg.items():
            yield from [value] if key == 'pipeline' else pipelines(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from pipelines(value)


def heads(student):
    for name in ('decode_head', 'auxiliary_head'):
        head = student.get(name) or []
        yield from head if isinstance(head, list) else [head]


def pad_colours(part):
    """Colours that transforms of images fill in, BGR."""
    if isinstance(part, dict):
        value = part.get('pad_val')
        if value is not None:
            yield value['img'] if isinstance(value, dict) else value
        part = list(part.values())
    for value in part:
        if isinstance(value, (dict, list)):
            yield from pad_colours(value)


def left_over(part):
    """Names that stand for `{{_base_.name}}` in an expression: no value replaces them.

    >>> list(left_over(dict(a=['_data_root_c22e5acam/index.json', 'a_b_c'])))
    ['_data_root_c22e5acam/index.json']
    """
    if isinstance(part, str):
        if re.match(r'_\w+_[0-9a-f]{6}', part):
            yield part
    elif isinstance(part, (dict, list, tuple)):
        for value in part.values() if isinstance(part, dict) else part:
            yield from left_over(value)


@pytest.mark.parametrize('path', PATHS, ids=stem_of)
def test_config(path):
    cfg = load(path)
    assert list(left_over(cfg)) == []
    cfg.model.student.backbone.init_cfg = None
    cfg.model.student.pretrained = None
    with torch.device('meta'):  # shapes without numbers, so that large nets are quick
        model = MODELS.build(cfg.model)
    classes = {head['num_classes'] for head in heads(cfg.model.student)}
    assert classes == {model.num_classes}
    network, _ = cfg.default_hooks.checkpoint.save_best.split('/')
    assert network in model.networks

    loaders = [*cfg.train_dataloader.values(), cfg.val_dataloader, cfg.test_dataloader]
    found = list(pipelines(loaders))
    assert len(found) == len(loaders)
    for pipeline in found:
        assert len(Compose(pipeline).transforms) > 1

    total = cfg.train_cfg.max_iters
    assert list(describe_starts(SimpleNamespace(model=model), total)) == []
    found = schedulers(cfg, total)
    lengths = [*DECAYS.values(), (0, epochs_of_esl(path))]
    assert (found[0].end if is_warm_up(found[0]) else 0, total) in lengths
    assert [s.end for s in found if not is_warm_up(s)] == [total]
    for length in (total, 3 * total):  # they follow a run of any length
        steps = named_schedulers(schedulers(cfg, length))
        assert list(describe_schedules(steps, length)) == []

    preprocessor = cfg.model.data_preprocessor
    mean = preprocessor.mean[:: -1 if preprocessor.bgr_to_rgb else 1]
    for colour in pad_colours([loader.dataset for loader in loaders]):
        assert colour == pytest.approx(mean, abs=1.5)

    assert RUNNERS.get(cfg.runner_type) is not None
    assert LOOPS.get(cfg.train_cfg.type) is not None
    hooks = [HOOKS.build(dict(hook)) for hook in cfg.get('custom_hooks', [])]
    has_teacher = any(pair.teacher is not None for pair in model.pairs)
    names = [type(hook).__name__ for hook in hooks]
    assert has_teacher == ('MeanTeacherHook' in names)
    assert model.has_memory or 'MemoryHook' not in names  # SemiRunner adds one
    if cfg.runner_type == 'SelfTrainingRunner':
        cfg.work_dir = 'unused'
        RUNNERS.build(cfg)


# Schedule -> iterations of the warm-up, and of the run; then poly 0.9 down to 0
DECAYS = {
    'adamw_800': (100, 800),
    'adamw-pretrained_500': (50, 500),
    'adamw-pretrained_1000': (100, 1000),
    'adamw-1e-4_120k': (0, 120000),
    'adamw-1e-4_160k': (0, 160000),
    'quickstart': (50, 1200),
    'quickstart_800': (50, 800),
    'sgd-1e-1_92560': (0, 92560),
    'sgd-1e-2_92560': (0, 92560),
    'sgd-25e-5_80k': (0, 80000),
    'sgd-2e-4_150k': (0, 150000),
    'sgd-4e-4_150k': (0, 150000),
}


@pytest.mark.parametrize('name', DECAYS)
def test_schedule(name):
    warm_up, total = DECAYS[name]
    cfg = load(ROOT / f'_base_/schedules/{name}.py')
    *first, last = cfg.param_scheduler
    assert [(s.type, s.end) for s in first] == [('LinearLR', warm_up)] * bool(warm_up)
    assert cfg.train_cfg.max_iters == total
    decay = schedulers(cfg, total)[-1]
    assert (decay.begin, decay.end, decay.power, decay.eta_min) == (
        warm_up,
        total,
        0.9,
        0,
    )


def test_every_schedule_is_known():
    assert {p.stem for p in (ROOT / '_base_/schedules').glob('*.py')} == set(DECAYS)


def test_testing_pads_to_multiples_of_8_and_cuts_it_off():
    cfg = named('cac_deeplabv3plus-r50_voc-aug-1-8')
    cfg.model.student.backbone.update(init_cfg=None, depth=50, base_channels=4)
    head = dict(in_channels=128, channels=4, c1_in_channels=16, c1_channels=2)
    cfg.model.student.decode_head.update(head)
    model = revert_sync_batchnorm(MODELS.build(cfg.model)).eval()
    seen = []
    model.student.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(tuple(args[0].shape[2:]))
    )
    sample = SegDataSample(metainfo=dict(img_shape=(37, 50), ori_shape=(37, 50)))
    image = torch.zeros(3, 37, 50, dtype=torch.uint8)
    result = model.test_step(dict(inputs=[image], data_samples=[sample]))[0]
    assert seen == [(40, 56)]
    assert result.pred_sem_seg.data.shape == (1, 37, 50)
