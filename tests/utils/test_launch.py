from unittest.mock import Mock

import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

from mmsemiseg.engine.checkpoints import read_checkpoint, run_state
from mmsemiseg.utils import launch


def write_config(folder, text='model = dict(type="X")\n', name='method_net_data.py'):
    path = folder / name
    path.write_text(text)
    return path


def test_work_dir_and_dump(tmp_path):
    path = write_config(tmp_path)
    cfg = launch.load_config(path)
    assert cfg.work_dir == 'work_dirs/method_net_data'
    assert cfg.experiment_name == 'method_net_data'
    assert cfg.default_scope == 'mmseg'
    assert cfg.filename == 'config.py'
    assert launch.load_config(path, work_dir='here').work_dir == 'here'
    cfg = launch.load_config(path, {'work_dir': 'a', 'model.type': 'Y'})
    assert (cfg.work_dir, cfg.model.type) == ('a', 'Y')


def test_dumped_config_keeps_name_and_folder(tmp_path):
    cfg = launch.load_config(write_config(tmp_path))
    cfg.dump(tmp_path / cfg.filename)
    again = launch.load_config(tmp_path / 'config.py', dump_as='test_config.py')
    assert again.work_dir == 'work_dirs/method_net_data'
    assert again.experiment_name == 'method_net_data'
    assert again.filename == 'test_config.py'


def test_a_length_that_nothing_reads_is_an_error(tmp_path):
    path = write_config(tmp_path, 'max_iters = 9\ntrain_cfg = dict(max_iters=9)\n')
    assert launch.load_config(path, {'train_cfg.max_iters': 5}).train_cfg.max_iters == 5
    with pytest.raises(ValueError, match='max_iters=5 changes .* train_cfg.max_iters'):
        launch.load_config(path, {'max_iters': 5})


def test_a_config_of_the_package_is_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = 'ctt-dual_deeplabv2-r101-coco_cityscapes-1-8.py'
    found = launch.find_config(row)
    assert found.as_posix().endswith(f'configs/ctt/ablations/{row}')
    assert launch.load_config(row).work_dir == f'work_dirs/{row[:-3]}'
    own = write_config(tmp_path, name=row)
    assert launch.find_config(own.name) == own.name
    assert launch.find_config('gone.py') == 'gone.py'


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='config: there is no file .*gone.py'):
        launch.load_config(tmp_path / 'gone.py')
    with pytest.raises(FileNotFoundError, match='--pretrained: there is no file'):
        launch.use_pretrained(ConfigDict(), tmp_path / 'gone.pth')
    cfg = Config({'work_dir': str(tmp_path)})
    with pytest.raises(FileNotFoundError, match='--resume: there is no file'):
        launch.use_resume(cfg, str(tmp_path / 'gone.pth'))
    assert launch.existing_file('https://a.invalid/b', 'x') == 'https://a.invalid/b'


@pytest.mark.parametrize(
    ('name', 'content', 'text'),
    [
        ('notes.txt', b'model = 1', "a Python file.*ends in '.txt'"),
        ('broken.py', b'model = dict(\n', 'SyntaxError'),
        ('binary.py', b'\x80\x04\x95', 'UnicodeDecodeError|SyntaxError|ValueError'),
        ('names.py', b'model = MISSING', "NameError: name 'MISSING'"),
        ('bases.py', b"_base_ = 'gone.py'", 'gone.py'),
        ('broken.json', b'{"model": ', 'JSONDecodeError'),
    ],
)
def test_a_file_that_is_no_config(name, content, text, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f'(?s)config: {path} cannot be .*{text}'):
        launch.load_config(path)


@pytest.mark.parametrize(
    'model',
    [
        {'backbone': {'type': 'ResNet', 'pretrained': 'web://r'}, 'pretrained': 'w'},
        {'student': {'backbone': {'type': 'ResNet'}, 'pretrained': 'web://r'}},
        {'students': [{'backbone': {'depth': 18}}, {'backbone': {'depth': 50}}]},
    ],
)
def test_pretrained_reaches_every_student(model, tmp_path):
    file = tmp_path / 'net.pth'
    file.touch()
    model = ConfigDict(model)
    launch.use_pretrained(model, file)
    students = launch.student_configs(model)
    assert len(students) == len(model.get('students', [1]))
    for student in students:
        expected = {'type': 'Pretrained', 'checkpoint': str(file)}
        assert student.backbone.init_cfg == expected
        assert 'pretrained' not in student and 'pretrained' not in student.backbone


def test_pretrained_without_backbone(tmp_path):
    (tmp_path / 'net.pth').touch()
    with pytest.raises(ValueError, match='needs model.student.backbone.*Odd'):
        launch.use_pretrained(ConfigDict(type='Odd', net={}), tmp_path / 'net.pth')


def test_file_must_fit_the_backbone(tmp_path):
    file = tmp_path / 'net.pth'
    backbone = nn.Linear(2, 3)
    torch.save({'state_dict': {'module.bias': torch.ones(3)}}, file)
    assert launch.require_fit(backbone, file) is None
    torch.save({'model': {'bias': torch.ones(3)}}, file)  # as BEiT's are
    assert launch.require_fit(backbone, file) is None
    torch.save({'bias': torch.ones(4), 'other': torch.ones(1)}, file)
    with pytest.raises(ValueError, match='none of its 2 entries .bias, other.*Linear'):
        launch.require_fit(backbone, file)


def amp(optim_wrapper, *arguments):
    """The optimizer wrapper after the flag."""
    cfg = Config({'optim_wrapper': {'optimizer': {'lr': 1}, **optim_wrapper}})
    launch.use_amp(cfg, *arguments)
    assert cfg.optim_wrapper.pop('optimizer') == {'lr': 1}
    return dict(cfg.optim_wrapper)


PLAIN = {'type': 'OptimWrapper'}
FP16 = {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
BF16 = {'type': 'Bf16OptimWrapper'}


@pytest.mark.parametrize(
    ('optim_wrapper', 'arguments', 'expected'),
    [
        ({}, ['cuda'], FP16),
        (PLAIN, ['cuda'], FP16),
        (PLAIN, ['cuda', 'fp16'], FP16),
        (PLAIN, ['cuda', 'bf16'], BF16),
        (PLAIN, ['cpu'], BF16),
        (PLAIN, ['cpu', 'bf16'], BF16),
        ({**PLAIN, 'clip_grad': {}}, ['cpu'], {**BF16, 'clip_grad': {}}),
        (FP16, ['cpu'], BF16),
        ({**FP16, 'dtype': 'float16', 'use_fsdp': False}, ['cuda', 'bf16'], BF16),
        ({**FP16, 'loss_scale': 512.0}, ['cuda'], {**FP16, 'loss_scale': 512.0}),
        ({**FP16, 'dtype': 'bfloat16'}, ['cuda'], {**FP16, 'dtype': 'bfloat16'}),
        ({**FP16, 'dtype': 'bfloat16'}, ['cuda', 'fp16'], FP16),
        (BF16, ['cpu'], BF16),
        (BF16, ['cuda', 'fp16'], FP16),
    ],
)
def test_amp(optim_wrapper, arguments, expected):
    assert amp(optim_wrapper, *arguments) == expected


def test_amp_that_cannot_be():
    with pytest.raises(ValueError, match='--amp-dtype fp16 needs an accelerator'):
        amp(PLAIN, 'cpu', 'fp16')
    with pytest.raises(ValueError, match='but it is ApexOptimWrapper'):
        amp({'type': 'ApexOptimWrapper'}, 'cuda')


def test_channels_last():
    for runner_type in ('SemiRunner', 'SelfTrainingRunner'):
        cfg = Config({'runner_type': runner_type})
        launch.use_channels_last(cfg)
        assert cfg.channels_last is True
    with pytest.raises(ValueError, match="in the config, but it is 'Runner'"):
        launch.use_channels_last(Config({'runner_type': 'Runner'}))
    with pytest.raises(ValueError, match='--channels-last needs runner_type'):
        launch.use_channels_last(Config({}))


@pytest.mark.parametrize('runner_type', ['SemiRunner', 'SelfTrainingRunner'])
def test_resume(runner_type, tmp_path):
    """These runners look for the newest good checkpoint themselves."""
    cfg = Config({'work_dir': str(tmp_path), 'load_from': 'weights.pth'})
    cfg.runner_type = runner_type
    (tmp_path / 'last_checkpoint').touch()
    launch.use_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == ('auto', 'weights.pth')
    file = tmp_path / 'iter_2.pth'
    file.touch()
    launch.use_resume(cfg, str(file))
    assert (cfg.resume, cfg.load_from) == (True, str(file))


def test_resume_with_the_runner_of_mmengine(tmp_path):
    cfg = Config({'work_dir': str(tmp_path), 'load_from': 'weights.pth'})
    launch.use_resume(cfg, 'auto')  # nothing to go on from: the weights count
    assert (cfg.resume, cfg.load_from) == (False, 'weights.pth')
    (tmp_path / 'last_checkpoint').touch()
    launch.use_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, None)
    cfg = Config({'work_dir': str(tmp_path / 'other')})
    launch.use_resume(cfg, 'auto')
    assert (cfg.resume, cfg.get('load_from')) == (True, None)


def test_errors_in_settings_are_one_message(capsys):
    def fail():
        raise KeyError('Foo is not in the registry')

    with pytest.raises(SystemExit) as caught:
        launch.run_tool(fail)
    assert caught.value.code == 1
    text = capsys.readouterr().err
    assert text.startswith('error: KeyError: Foo is not in the registry\n')
    assert 'Traceback' not in text and '--debug' in text
    with pytest.raises(KeyError):
        launch.run_tool(fail, debug=True)


@pytest.mark.parametrize('kind', ['CheckpointError', 'ResumeError'])
def test_what_cannot_be_resumed_is_one_message(kind, tmp_path, capsys):
    def fail():
        if kind == 'CheckpointError':
            (tmp_path / 'a.pth').write_bytes(b'no checkpoint')
            read_checkpoint(tmp_path / 'a.pth')
        saved = dict(processes=9, device='', threads=1, accumulation=1, streams={})
        loop = Mock()
        state = dict(accumulation=1, channels_last=False, streams={})
        loop.state_dict.return_value = state
        run_state.restore(loop, saved)

    with pytest.raises(SystemExit):
        launch.run_tool(fail)
    text = capsys.readouterr().err
    assert text.startswith(f'error: {kind}: ')
    assert 'Traceback' not in text


def test_other_errors_keep_their_traceback():
    def fail():
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError):
        launch.run_tool(fail)
