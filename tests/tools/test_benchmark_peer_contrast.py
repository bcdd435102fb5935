import json
import math
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

SIZES = ['--sizes', '40,3,5,2', '60,5,8,7']


@pytest.fixture
def tool(load_tool):
    return load_tool('benchmark/peer_contrast')


@pytest.fixture
def in_process(tool, monkeypatch, capsys):
    """Child processes run inside this one, to be quick; their forms."""
    forms = []

    def child(command):
        forms.append(command[-1])
        capsys.readouterr()
        assert tool.main(command[command.index(tool.__file__) + 1 :]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    monkeypatch.setattr(tool, 'last_line', child)
    return forms


@pytest.fixture(autouse=True)
def memory_is_given_back(tool, monkeypatch):
    """The setting would stay for all later tests."""
    monkeypatch.setattr(tool, 'keep_freed_memory', lambda: True)


@pytest.mark.parametrize('level', ['high', 'low'])
@pytest.mark.parametrize('active', [1.0, 0.5])
def test_forms_compute_the_same(tool, level, active):
    case = tool.Case(60, 5, 8, 7, level, active)
    inputs = case.inputs('cpu')
    ours, theirs = (tool.run_form(form, case, inputs) for form in tool.FORMS)
    assert_close(ours['value'], theirs['value'])
    assert_close(ours['grad'], theirs['grad'], rtol=1e-4, atol=1e-7)
    moved = theirs['grad'].abs().sum(1) > 0
    assert moved.all() if active == 1 else 10 < moved.sum() < 50
    assert inputs.anchors.features.grad is None


def test_the_value_by_hand(tool):
    """Two anchors of class 0, one active; keys (1, 0) and (0, 1) of the classes."""
    case = tool.Case(2, 1, 2, 2)
    inputs = case.inputs('cpu')
    features, group, confidence = inputs.anchors
    features[:] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    group[:] = 0
    confidence[1] = tool.UNSURE
    inputs.banks[0].features[:] = torch.eye(2)[:, None]
    expected = torch.tensor(math.log1p(math.exp(0 - 2)) / 2 / 2)
    for form in tool.FORMS:
        assert_close(tool.run_form(form, case, inputs)['value'], expected)


def test_grid(tool, tmp_path, capsys, in_process):
    out = tmp_path / 'out.json'
    assert tool.main([*SIZES, '--repeats', '3', '--out', str(out)]) == 0
    cases = json.loads(out.read_text())['cases']
    names = [(case['anchors'], case['level'], case['active']) for case in cases]
    each = [('high', 1.0), ('high', 0.5), ('low', 1.0), ('low', 0.5)]
    assert names == [(anchors, *x) for anchors in (40, 60) for x in each]
    for case in cases:
        assert list(case['seconds']) == list(case['memory']) == list(tool.FORMS)
        for passes in case['seconds'].values():
            assert [len(values) for values in passes.values()] == [3, 3]
        assert case['ratio'] == case['median']['matrix'] / case['median']['ours']
        low, high = case['ratio_range']
        assert 0 < low <= high
    assert in_process == 8 * ['inputs', 'ours', 'matrix']
    printed = capsys.readouterr().out
    assert printed.count('60 x 35 x 8 / 7 | high ') == 2 * (2 + 1 + 2)
    assert printed.count('60 x 70 x 8 / 7 | low ') == 2 * (2 + 1 + 2)


def test_the_printed_targets(tool):
    seconds = dict(forward=[0.001], backward=[0.002])
    case = dict(
        anchors=7,
        keys=9,
        dim=3,
        classes=4,
        level='low',
        active=0.25,
        seconds=dict(ours=seconds, matrix=seconds),
        median=dict(ours=0.003, matrix=0.003),
        ratio=1.0,
        ratio_range=[0.9, 1.25],
        target=1.0,
        memory_target=0.5,
        memory=dict(ours=40.0, matrix=80.0),
    )
    other = dict(case, ratio=0.99, memory=dict(ours=41.0, matrix=80.0))
    text = tool.report(dict(about=dict(seed=0), cases=[case, other]))
    rows = [
        [cell.strip() for cell in line.split('|')[4:-1]]
        for line in text.splitlines()
        if '7 x 72 x 3 / 4 | low   | 0.25' in line
    ]
    assert rows[0] == ['ours', '1.0', '2.0', '3.0']
    assert rows[4:6] == [
        ['1.00', '0.90 to 1.25', '1.0', 'yes'],
        ['0.99', '0.90 to 1.25', '1.0', 'no'],
    ]
    assert rows[6:] == [
        ['ours', '40', '0.500', '0.5', 'yes'],
        ['matrix', '80', '1.000', '', ''],
        ['ours', '41', '0.512', '0.5', 'no'],
        ['matrix', '80', '1.000', '', ''],
    ]


@pytest.mark.parametrize('level', ['high', 'low'])
def test_a_form_with_other_values_is_an_error(tool, monkeypatch, level):
    monkeypatch.setitem(tool.FORMS, 'ours', lambda *args: tool.matrix(*args) * 1.1)
    with pytest.raises(ValueError, match='the forms differ in value by 0.1'):
        tool.main([*SIZES, '--levels', level, '--no-memory'])


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='not Linux')
def test_memory_of_a_form(tool):
    """In real child processes: the logits and their gradient are 64 MiB each."""
    command = [sys.executable, '-W', 'ignore', tool.__file__, '--threads', '1']
    command += ['--sizes', '8192,128,8,16', '--levels', 'high', '--active', '1']
    command += ['--device', 'cpu', '--measure']
    peaks = {
        form: float(tool.last_line([*command, form]))
        for form in ('inputs', 'ours', 'matrix')
    }
    assert peaks['ours'] - peaks['inputs'] < 60
    assert peaks['matrix'] - peaks['inputs'] > 120


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--repeats', '0'], 'must be at least 1'),
        (['--active', '0'], r'--active must be in (0, 1], but got [0.0]'),
        (['--active', '1.5'], '--active must be in (0, 1]'),
        (['--sizes', '8,8,8'], 'must be A,N,D,C'),
        (['--sizes', '8,0,8,2'], 'at least 1 each'),
        (['--sizes', '8,8,8,1'], 'C at least 2, but got 8,8,8,1'),
        (['--sizes', '8,8,8,x'], 'invalid sizes value'),
        (['--levels', 'other'], 'invalid choice'),
    ],
)
def test_bad_options(tool, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_args(options)
    assert message in capsys.readouterr().err
