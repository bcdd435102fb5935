import runpy
from pathlib import Path

import pytest
from mmengine.config import Config

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'print_config.py'
NAME = 'mean-teacher_cutmix_deeplabv3plus-r18-w16_quickstart.py'


@pytest.fixture
def run(capsys):
    tool = runpy.run_path(str(TOOL))

    def run(*words):
        tool['main'](tool['parse_args'](list(words)))
        return capsys.readouterr().out

    return run


def test_all_of_it_is_a_config_that_reads_the_same(run, tmp_path):
    file = TOOL.parents[1] / 'configs/baselines' / NAME
    (tmp_path / 'printed.py').write_text(run(str(file)))
    again = Config.fromfile(tmp_path / 'printed.py')
    assert again.to_dict() == Config.fromfile(file).to_dict()


def test_parts_of_a_config_by_name(run):
    out = run(NAME, 'model.pseudo_loss.threshold', 'custom_hooks.0', 'train_cfg')
    assert ''.join(out.split()) == (  # tests print without yapf
        'model.pseudo_loss.threshold=0.6'
        "custom_hooks.0=dict(decay=0.98,type='MeanTeacherHook',warmup='1/(t+1)')"
        "train_cfg=dict(max_iters=1200,type='SemiTrainLoop',val_interval=400)"
    )


def test_sources(run, monkeypatch):
    monkeypatch.chdir(TOOL.parents[1])
    options = ('--cfg-options', 'model.mix.type=ClassMix', 'train_cfg.accumulation=2')
    lines = run(NAME, 'model', 'train_cfg', '--sources', *options).splitlines()
    leaf = f'configs/baselines/{NAME}'
    base = 'configs/_base_'
    assert f'model.pseudo_loss.threshold = 0.6  # {leaf}:9' in lines
    assert "model.mix.type = 'ClassMix'  # --cfg-options" in lines
    assert 'train_cfg.accumulation = 2  # --cfg-options' in lines
    assert [
        line.split('  # ')[1].split(':')[0]
        for line in lines
        if line.startswith(('model.student.backbone.depth', 'train_cfg.max_iters'))
    ] == [
        f'{base}/models/deeplabv3plus_r18-w16-d8.py',
        f'{base}/schedules/quickstart.py',
    ]


def test_an_unknown_key_is_an_error(run):
    with pytest.raises(ValueError, match='did you mean model.student'):
        run(NAME, 'model.studnet')
    with pytest.raises(FileNotFoundError, match='config: there is no file gone.py'):
        run('gone.py')
