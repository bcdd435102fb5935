import runpy
from argparse import Namespace
from pathlib import Path

import mmseg
import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmseg.registry import MODELS
from tiny_run import mean_teacher, tiny_student

MMSEG = Path(mmseg.__file__).parent / '.mim/tools/analysis_tools/get_flops.py'
NOT_COUNTED = 'operators that are not counted: '


@pytest.fixture
def tool(load_tool, tmp_path, capsys):
    """Calls the tool on a config of these settings; returns what it prints."""
    module = load_tool('analysis_tools/get_flops')

    def call(cfg, *options):
        path = tmp_path / 'some.py'
        Config(dict(custom_imports=dict(imports=['mmsemiseg']), **cfg)).dump(path)
        module.main(module.parse_args([str(path), *options]))
        lines = capsys.readouterr().out.splitlines()
        missing = [line for line in lines if line.startswith(NOT_COUNTED)]
        assert len(missing) == 1 and 'max_pool2d' in missing[0]
        return [line for line in lines if line not in missing][-3:]

    return call


def test_as_many_as_mmseg_counts_of_the_plain_network(tool, tmp_path):
    student = tiny_student()
    path = tmp_path / 'plain.py'
    Config(dict(model=student)).dump(path)
    counted = runpy.run_path(str(MMSEG))['inference'](
        Namespace(config=str(path), shape=[320, 480], cfg_options=None),
        MMLogger.get_instance('flops'),
    )
    head, parameters, flops = tool(
        dict(model=mean_teacher()), '--network', 'student', '--shape', '320', '480'
    )
    assert head == 'student of MeanTeacher, input 3 x 320 x 480'
    number = sum(p.numel() for p in MODELS.build(student).parameters())
    assert parameters == f'parameters: {number / 1e6:.3f} M'
    assert counted['flops'].endswith('M')
    expected = float(counted['flops'][:-1]) / 1e3
    assert float(flops.split()[1]) == pytest.approx(expected, abs=6e-4)
    assert expected > 0.02


def test_auxiliary_heads_are_named_apart(tool):
    model = mean_teacher()
    model['student']['auxiliary_head'] = dict(model['student']['decode_head'])
    lines = tool(dict(model=model), '--shape', '32', '32')
    assert lines[0].startswith('parameters: 0.0')
    assert lines[1].startswith('of auxiliary heads, in training alone: 0.0')


def test_size_of_testing(tool):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(40, 24))]
    steps.append(dict(type='PackSegInputs'))
    loader = dict(test_dataloader=dict(dataset=dict(pipeline=steps)))
    assert tool(dict(model=mean_teacher(), **loader))[0].endswith('3 x 24 x 40')
    model = mean_teacher()
    slide = dict(mode='slide', crop_size=(16, 32), stride=(8, 8))
    model['student']['test_cfg'] = slide
    assert tool(dict(model=model, **loader))[0].endswith('3 x 16 x 32')


def test_wrong_arguments(tool, capsys):
    with pytest.raises(ValueError, match=r"one of \['student', 'teacher'\].*'mean'"):
        tool(dict(model=mean_teacher()), '--network', 'mean')
    with pytest.raises(SystemExit):
        tool(dict(model=mean_teacher()), '--shape', '0', '32')
    assert '--shape must be at least 1 1' in capsys.readouterr().err
