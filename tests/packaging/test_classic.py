"""What `make test-classic` needs: its configs, its list of packages, its refusals."""

import os
import re
import runpy
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from op_heads import needs_ops

ROOT = Path(__file__).resolve().parents[2]
RUNS = runpy.run_path(str(ROOT / '.ci' / 'method_runs.py'))
METHODS = list(RUNS['CONFIGS'])
MARKED = [
    pytest.param(method, marks=needs_ops) if method in RUNS['OF_MMDET'] else method
    for method in METHODS
]
SETUP = ROOT / '.ci' / 'setup_env.sh'


@pytest.mark.parametrize('method', MARKED)
def test_the_config_of_each_method_builds(method, tmp_path):
    path = tmp_path / 'method.py'
    path.write_text(RUNS['config_of'](method))
    cfg = Config.fromfile(path)
    init_default_scope('mmseg')
    assert cfg.train_cfg.max_iters == 4
    assert cfg.model.get('ramp_up') is None  # it begins at once
    batches = [loader.batch_size for loader in cfg.train_dataloader.values()]
    assert set(batches) == {2}
    assert cfg.default_hooks.checkpoint.interval == 2
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    network, _ = cfg.default_hooks.checkpoint.save_best.split('/')
    assert network in model.networks
    if method != 'self-training':
        assert type(model).__name__ == method


def test_every_method_of_the_readme_is_run():
    rows = re.findall(r'^\| .* \| (`.*`) \|$', (ROOT / 'README.md').read_text(), re.M)
    types = {name for row in rows for name in re.findall(r'`(\w+)`', row)}
    assert {'SupOnly', 'CTT'} <= types
    ours = {*METHODS, 'SelfTrainingRunner'} - {'self-training'}
    # CACWeak is CAC with one loss more
    assert types - ours == {'CACWeak'}


def test_a_method_whose_packages_are_missing_is_left_out(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'mmdet.models', None)
    assert RUNS['possible_methods']() == [m for m in METHODS if m != 'RC2L']
    assert 'RC2L left out: mmdet cannot be imported' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('output', 'finite'), [('mIoU: 0.5  mAcc: 1', True), ('mIoU: nan', False), ('', 0)]
)
def test_a_score_must_be_a_number(output, finite):
    if finite:
        return RUNS['require_score'](output)
    with pytest.raises(RUNS['StepError'], match='mIoU is'):
        RUNS['require_score'](output)


def test_a_failing_step_is_seen(tmp_path):
    runs = RUNS['Runs'](tmp_path, 'SupOnly')
    assert runs.call('test', print, 'all is well') == 'all is well\n'
    tool = tmp_path / 'tool.py'
    tool.write_text(
        'import sys\nassert sys.argv[1:] == ["1"]\nsys.exit("KeyError: no")'
    )
    with pytest.raises(RUNS['StepError'], match='KeyError: no'):
        runs.call('test', tool, 1)
    assert (runs.folder / 'test.txt').read_text() == 'all is well\nKeyError: no\n'


def test_one_environment_holds_one_family(tmp_path):
    """A Python that has the running one's packages, and in which pip does nothing."""
    python = tmp_path / 'bin' / 'python'
    python.parent.mkdir()
    python.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] && exit 9\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    names = {dist.metadata['Name'] for dist in distributions()}
    part = 'classic' if 'onedl-mmengine' in names else 'base'
    done = subprocess.run(
        ['bash', SETUP, part],
        env=dict(os.environ, VENV=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert re.search('holds (onedl-)?mmengine.*name another environment', done.stderr)
