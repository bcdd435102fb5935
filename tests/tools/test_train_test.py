"""The command lines of tools/train.py and tools/test.py."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

TOOLS = Path(__file__).resolve().parents[2] / 'tools'
CONFIG = """
model = dict(
    type='SupOnly',
    student=dict(
        type='EncoderDecoder',
        pretrained='open-mmlab://resnet18_v1c',
        backbone=dict(type='ResNetV1c', depth=18),
        decode_head=dict(type='FCNHead', in_channels=512, channels=8, num_classes=2),
    ),
)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
randomness = dict(seed=0, deterministic=True)
test_evaluator = [dict(type='CityscapesMetric', output_dir='x'), dict(type='IoUMetric')]
default_hooks = dict(checkpoint=dict(type='CheckpointHook'))
"""


@pytest.fixture
def tool(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    (tmp_path / 'some_config.py').write_text(CONFIG)

    def load(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, 'some_config.py', *arguments])
        return runpy.run_path(str(TOOLS / f'{name}.py'))

    return load


def build(module):
    return module['build_config'](module['parse_args']())


def test_options_reach_the_config(tool):
    torch.save({'w': torch.ones(1)}, 'start.pth')
    cfg = build(
        tool(
            *('train', '--seed', '7', '--load-from', 'start.pth', '--work-dir', 'out'),
            *('--cfg-options', 'optim_wrapper.optimizer.lr=0.5', '--local-rank=3'),
        )
    )
    assert cfg.randomness == {'seed': 7, 'deterministic': True}
    assert (cfg.load_from, cfg.work_dir, cfg.launcher) == ('start.pth', 'out', 'none')
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert 'resume' not in cfg


def test_the_config_of_a_run_has_what_mmseg_looks_for(tool):
    steps = [dict(type='LoadImageFromFile'), dict(type='PackSegInputs')]
    with open('some_config.py', 'a') as file:
        file.write(f'val_dataloader = dict(dataset=dict(pipeline={steps}))\n')
    cfg = build(tool('train'))
    assert cfg.test_pipeline == steps
    assert cfg.tta_pipeline[-1].type == 'TestTimeAug'


def test_resume_takes_a_file_or_the_newest(tool):
    assert build(tool('train', '--resume')).resume is True
    Path('iter_1.pth').touch()
    cfg = build(tool('train', '--resume', 'iter_1.pth'))
    assert (cfg.resume, cfg.load_from) == (True, 'iter_1.pth')


def test_resume_of_our_runner(tool):
    with open('some_config.py', 'a') as file:
        file.write("runner_type = 'SemiRunner'\nload_from = 'weights.pth'\n")
    cfg = build(tool('train', '--resume'))
    assert (cfg.resume, cfg.load_from) == ('auto', 'weights.pth')
    with pytest.raises(FileNotFoundError, match='--resume: there is no file gone.pth'):
        build(tool('train', '--resume', 'gone.pth'))


@pytest.mark.parametrize(
    ('device', 'flags', 'expected'),
    [
        ('cpu', ['--amp'], 'Bf16OptimWrapper'),
        ('cuda', ['--amp'], 'AmpOptimWrapper'),
        ('cuda', ['--amp-dtype', 'bf16'], 'Bf16OptimWrapper'),
        ('cuda', ['--amp', '--amp-dtype', 'fp16'], 'AmpOptimWrapper'),
        ('cuda', [], 'OptimWrapper'),
    ],
)
def test_amp(device, flags, expected, tool):
    module = tool('train', *flags)
    module['build_config'].__globals__['get_device'] = lambda: device
    cfg = build(module)
    assert cfg.optim_wrapper.type == expected
    assert cfg.optim_wrapper.optimizer == dict(type='SGD', lr=0.1)


def test_amp_that_cannot_be(tool, capsys):
    module = tool('train', '--amp-dtype', 'fp16')
    module['build_config'].__globals__['get_device'] = lambda: 'cpu'
    with pytest.raises(ValueError, match='--amp-dtype fp16 needs an accelerator'):
        build(module)
    with pytest.raises(SystemExit):
        tool('train', '--amp-dtype', 'fp8')['parse_args']()
    assert "invalid choice: 'fp8'" in capsys.readouterr().err


def test_channels_last(tool):
    assert build(tool('train')).get('channels_last') is None
    with open('some_config.py', 'a') as file:
        file.write("runner_type = 'SemiRunner'\n")
    assert build(tool('train', '--channels-last')).channels_last is True


def test_pretrained_file(tool):
    from mmseg.models.backbones import ResNetV1c

    weights = ResNetV1c(depth=18).state_dict()
    torch.save({'state_dict': weights}, 'r18.pth')
    student = build(tool('train', '--pretrained', 'r18.pth')).model.student
    assert student.backbone.init_cfg.checkpoint == 'r18.pth'
    assert student.get('pretrained') is None

    torch.save({'fc.weight': torch.ones(1)}, 'wrong.pth')
    with pytest.raises(ValueError, match='wrong.pth: none of its 1 entries'):
        build(tool('train', '--pretrained', 'wrong.pth'))


def test_missing_pretrained_comes_first(tool):
    module = tool('train', '--pretrained', 'gone.pth')
    Path('some_config.py').unlink()
    with pytest.raises(FileNotFoundError, match='--pretrained: .* gone.pth'):
        build(module)


def test_checkpoint_of_test_is_needed_once(tool, capsys):
    for arguments in ([], ['a.pth', '--checkpoint', 'b.pth']):
        with pytest.raises(SystemExit):
            tool('test', *arguments)['parse_args']()
        assert 'give one checkpoint' in capsys.readouterr().err
    assert tool('test', 'a.pth')['parse_args']().checkpoint == 'a.pth'
    assert tool('test', '--checkpoint', 'b.pth')['parse_args']().checkpoint == 'b.pth'
    module = tool('test', 'gone.pth')
    with pytest.raises(FileNotFoundError, match='checkpoint: there is no file gone'):
        module['main'](module['parse_args']())


@pytest.fixture
def tested(tool, monkeypatch):
    """The config that tools/test.py gives to the runner."""
    Path('a.pth').touch()
    given = []

    class Runner:
        def __init__(self, cfg):
            given.append(cfg)

        def test(self):
            given.append('tested')

    def call(*arguments):
        module = tool('test', 'a.pth', *arguments)
        monkeypatch.setattr('mmengine.runner.Runner.from_cfg', Runner)
        module['main'](module['parse_args']())
        assert given.pop() == 'tested'
        return given.pop()

    return call


def test_what_test_writes(tested):
    cfg = tested('--predict-with', 'teacher1', '--out', 'maps', '--show-dir', 'painted')
    assert (cfg.load_from, cfg.resume) == ('a.pth', False)
    assert cfg.model.predict_with == 'teacher1'
    assert cfg.filename == 'test_config.py'
    assert cfg.test_evaluator[0].output_dir == 'maps'
    assert 'keep_results' not in tested().test_evaluator[0]
    assert cfg.test_evaluator[0].keep_results is True
    hook = cfg.default_hooks.visualization
    assert (hook.type, hook.folder) == ('PaintedImagesHook', 'painted')
    assert cfg.default_hooks.predictions.type == 'PredictionFilesHook'
    assert cfg.default_hooks.checkpoint.type == 'CheckpointHook'
    assert 'predict_with' not in tested().model


def test_label_maps_of_mmsegs_metric_keep_their_folders(tested):
    with open('some_config.py', 'a') as file:
        file.write("test_evaluator = dict(type='IoUMetric', iou_metrics=['mDice'])\n")
    metric = tested('--out', 'maps').test_evaluator
    assert metric.type == 'PerClassIoUMetric'
    assert (metric.per_class, metric.output_dir) == (False, 'maps')
    assert metric.iou_metrics == ['mDice']
