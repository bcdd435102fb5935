"""The checks of a GPU run on the CPU, small."""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import tiny_run
import torch

ROOT = Path(__file__).resolve().parents[2]
DEV = ROOT / 'tools' / 'dev'
OK, FAIL, SKIP, INFO = 'ok', 'FAIL', 'skip', 'info'


@pytest.fixture
def load(load_tool):
    """``load('check_rows')`` imports tools/dev/check_rows.py."""
    return lambda name: load_tool(f'dev/{name}')


@pytest.fixture
def rows(load, tmp_path):
    module = load('check_rows')
    found = module.Rows(tmp_path / 'rows.jsonl', 'here', 100)
    found.read = lambda: module.read_rows(found.path)
    return found


def args(**settings):
    found = dict(device='cpu', small=True, methods=None, sweep=None, jobs=2)
    return type('Args', (), {**found, 'work_dir': None, **settings})


def results(rows):
    return {row['check']: row['result'] for row in rows.read()}


def test_the_script_writes_one_table_of_all_that_it_did(tmp_path):
    """Started as a user does: what fails is told, and nothing is lost by it."""
    command = ['bash', str(DEV / 'cuda_check.sh'), '--device', 'cpu', '--small']
    command += ['--sections', 'skips,processes', '--methods', 'Nothing,CAC']
    env = dict(os.environ, PYTHON=sys.executable, OMP_NUM_THREADS='1')
    done = subprocess.run(
        [*command, '--out', str(tmp_path)], env=env, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    result = json.loads((tmp_path / 'cuda_check.json').read_text())
    checks = [(row['section'], row['check'], row['result']) for row in result['rows']]
    assert checks == [
        ('skips', 'Nothing', FAIL),
        ('skips', 'CAC', OK),
        ('skips', 'CAC: moved besides students', INFO),
        ('processes', 'Nothing', FAIL),
        ('processes', 'CAC', OK),
        ('processes', 'all_reduce, all_gather', OK),
    ]
    assert result['about']['device'] == 'cpu'
    assert (tmp_path / 'cuda_check.txt').read_text().strip() in done.stdout
    assert done.stdout.count('section    check') == 1
    assert done.stdout.count("FAIL    KeyError: 'Nothing'") == 2
    assert 'gloo, MMDistributedDataParallel' in done.stdout
    assert (tmp_path / 'cuda_check.log').exists()


def test_an_unknown_section_is_refused(load, capsys):
    with pytest.raises(SystemExit):
        load('cuda_check').parse_args(['--sections', 'kernels,none'])
    assert "got ['none']" in capsys.readouterr().err


def test_a_section_that_takes_too_long_keeps_its_rows(load, tmp_path, monkeypatch):
    tool = load('cuda_check')
    monkeypatch.setattr(tool, 'MARGIN', 0.0)
    settings = ['--device', 'cpu', '--small', '--sections', 'kernels']
    child = tool.Child('kernels', tool.parse_args(settings), tmp_path, 0.2, 1)
    load('check_rows').Rows(child.rows, 'kernels', 1).add('one', OK)
    first, last = child.finish()
    assert (first['check'], last['check']) == ('one', 'the process')
    assert last['value'].startswith('its time ran out')


def test_rows(rows):
    with rows.guarded('good'):
        rows.passed('good', True, 'x', more=1)
    with rows.guarded('bad'):
        raise ValueError('first line\nsecond line')
    rows.end = 0
    assert not rows.has_time('late')
    with rows.path.open('a') as file:
        file.write('{"section": "here", "che')
    assert results(rows) == dict(good=OK, bad=FAIL, late=SKIP)
    assert rows.read()[0]['more'] == 1
    assert rows.read()[1]['value'] == 'ValueError: first line'


def test_kernels(load, rows):
    load('check_kernels').run(rows, args())
    found = results(rows)
    assert set(found.values()) == {OK, INFO}
    assert {'CAC directional contrast', 'CMB bank contrast', 'CTT low level'} <= set(
        found
    )


def test_a_wrong_kernel_is_seen(load, rows):
    module = load('check_kernels')
    calls = []

    def wrong(x):
        calls.append(x.dtype)
        return x * (1.01 if x.dtype == torch.float16 else 1)

    case = module.Case('wrong', wrong, dict(x=torch.rand(9)), ('x',))
    module.compare(rows, case, 'cpu')
    assert rows.read()[0]['result'] == FAIL
    assert rows.read()[0]['value'].count('!') == 1
    assert calls.count(torch.float64) == 3
    nan = torch.tensor([1.0, torch.nan])
    assert module.error([nan], [torch.ones(2)]) == float('inf')
    infinite = torch.tensor([1.0, -torch.inf])
    assert module.error([infinite], [infinite]) == 0


def test_waits(load, rows):
    load('check_waits').run(rows, args(methods='CAC,MeanTeacher, Lite0'))
    assert set(results(rows).values()) == {OK, INFO, FAIL}  # 'Lite0' is no method


def test_a_wait_is_placed(load):
    module = load('check_waits')
    waits = module.Waits()
    message = 'called a synchronizing CUDA operation'
    with waits.watched('loss'):
        warnings.warn(message, stacklevel=1)
        warnings.warn('something else', stacklevel=1)
    assert waits.ours == dict(loss=['elsewhere'])
    frame = type('Frame', (), dict(filename='', lineno=7))
    frames = [
        type('F', (frame,), dict(filename=name))
        for name in (
            f'{module.OURS}/models/a.py',
            '/x/mmseg/models/b.py',
            '/x/torch/c.py',
            f'{module.OURS}/functional/d.py',
            '/x/kornia/e.py',
        )
    ]
    assert module._place(frames) == ('d.py:7', True)
    assert module._place(frames[:3]) == ('b.py:7', False)
    assert 'loss: elsewhere' in waits.text()


def test_steps(load, rows):
    load('check_steps').run(rows, args(methods='SupOnly'))
    first, *others = rows.read()
    assert results(rows) == {row['check']: OK for row in (first, *others)}
    assert [row['check'] for row in others] == [
        'SupOnly, bf16',
        'SupOnly, bf16 channels_last',
        'SupOnly, tf32',
    ]
    assert [len(first['times'][form]) for form in ('full', 'bare')] == [7, 7]
    assert [p['kind'] for p in first['passes']] == ['loss']


def test_sweep(load, rows, tmp_path):
    data = tiny_run.write_data(tmp_path / 'data')
    config = tmp_path / 'tiny.py'
    tiny_run.config(data, tmp_path / 'run', max_iters=2).dump(config)
    away = tmp_path / 'away.py'
    away.write_text("data_root = 'nowhere/'\n")
    runs = tmp_path / 'runs.txt'
    runs.write_text(
        f'# comment\n\none {config} randomness.seed=3 train_cfg.val_interval=2\n'
        f'gone {away}\nbad {config} model.type=Nothing\n'
    )
    module = load('check_sweep')
    assert [one.seed for one in module.read_list(runs)] == ['3', '0', '0']
    module.run(rows, args(sweep=runs))
    assert results(rows) == dict(one=OK, gone=SKIP, bad=FAIL)
    found = {row['check']: row for row in rows.read()}
    assert list(found['one']['scores']) == ['student', 'teacher']
    assert found['one']['value'].startswith('student ')
