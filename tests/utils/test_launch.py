import pytest
import torch
from mmengine.config import Config, ConfigDict
from torch import nn

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
    torch.save({'bias': torch.ones(4), 'other': torch.ones(1)}, file)
    with pytest.raises(ValueError, match='none of its 2 entries .bias, other.*Linear'):
        launch.require_fit(backbone, file)


def test_amp():
    cfg = Config({'optim_wrapper': {'type': 'OptimWrapper'}})
    with pytest.raises(ValueError, match='--amp needs an accelerator'):
        launch.use_amp(cfg, 'cpu')
    launch.use_amp(cfg, 'cuda')
    assert cfg.optim_wrapper == {'type': 'AmpOptimWrapper', 'loss_scale': 'dynamic'}
    cfg.optim_wrapper.loss_scale = 512.0
    launch.use_amp(cfg, 'cuda')
    assert cfg.optim_wrapper.loss_scale == 512.0
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match='but it is ApexOptimWrapper'):
        launch.use_amp(cfg, 'cuda')


def test_resume(tmp_path):
    cfg = Config({'work_dir': str(tmp_path), 'load_from': 'weights.pth'})
    launch.use_resume(cfg, 'auto')  # nothing to go on from: the weights count
    assert (cfg.resume, cfg.load_from) == (False, 'weights.pth')
    (tmp_path / 'stage_1').mkdir()
    (tmp_path / 'stage_1' / 'last_checkpoint').touch()
    launch.use_resume(cfg, 'auto')
    assert (cfg.resume, cfg.load_from) == (True, None)
    file = tmp_path / 'iter_2.pth'
    file.touch()
    launch.use_resume(cfg, str(file))
    assert (cfg.resume, cfg.load_from) == (True, str(file))


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


def test_other_errors_keep_their_traceback():
    def fail():
        raise RuntimeError('out of memory')

    with pytest.raises(RuntimeError):
        launch.run_tool(fail)
