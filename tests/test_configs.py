"""Every config loads, and its model and its pipelines build."""

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmseg.registry import HOOKS, LOOPS, MODELS, RUNNERS

import mmsemiseg  # noqa: F401, fills the registries

ROOT = Path(__file__).resolve().parents[1] / 'configs'
PATHS = sorted(p for p in ROOT.rglob('*.py') if '_base_' not in p.parts)


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


@pytest.mark.parametrize('path', PATHS, ids=lambda p: p.stem)
def test_config(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    cfg.model.student.backbone.init_cfg = None
    cfg.model.student.pretrained = None
    model = MODELS.build(cfg.model)
    classes = {head['num_classes'] for head in heads(cfg.model.student)}
    assert classes == {model.num_classes}

    loaders = [*cfg.train_dataloader.values(), cfg.val_dataloader, cfg.test_dataloader]
    found = list(pipelines(loaders))
    assert len(found) == len(loaders)
    for pipeline in found:
        assert len(Compose(pipeline).transforms) > 1

    assert RUNNERS.get(cfg.runner_type) is not None
    assert LOOPS.get(cfg.train_cfg.type) is not None
    hooks = [HOOKS.build(dict(hook)) for hook in cfg.get('custom_hooks', [])]
    has_teacher = any(pair.teacher is not None for pair in model.pairs)
    assert has_teacher == ('MeanTeacherHook' in [type(hook).__name__ for hook in hooks])
    if cfg.runner_type == 'SelfTrainingRunner':
        cfg.work_dir = 'unused'
        RUNNERS.build(cfg)


@pytest.mark.parametrize('data', ['camvid-half', 'quickstart'])
def test_an_evaluation_base_fits_a_data_set(data, tmp_path):
    bases = [
        str(ROOT / '_base_' / f'{name}.py')
        for name in (f'datasets/{data}', 'evaluation/half')
    ]
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f'_base_ = {bases}\n'
        'val_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))\n'
    )
    steps = [
        step.type for step in Config.fromfile(leaf).val_dataloader.dataset.pipeline
    ]
    assert steps == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackSegInputs']
