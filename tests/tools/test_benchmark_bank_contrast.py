import json
import sys
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[2]
SIZES = ['--rows', '60', '--keys', '5', '--dim', '8', '--classes', '2', '7']


@pytest.fixture
def tool(load_tool):
    return load_tool('benchmark/bank_contrast')


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


class Sizes(TorchDispatchMode):
    """The number of elements of every tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor):
                self.largest = max(self.largest, one.numel())
        return out


@pytest.mark.parametrize('part', ['distance', 'whole'])
@pytest.mark.parametrize('skew', [False, True])
def test_no_matrix_of_rows_and_keys(tool, part, skew):
    """Not of all rows and not of those of a single class, in either pass."""
    case = tool.Case(rows=3000, keys=128, dim=4, classes=3, skew=skew)
    inputs = case.inputs('cpu')
    smallest = int(inputs.group.bincount().min())
    found = {}
    for form in tool.FORMS:
        with Sizes() as sizes:
            tool.run_form(form, part, inputs)
        found[form] = sizes.largest
    tiled = (3000 // 128 + 3) * 128 * 4
    assert found['tiles'] <= max(tiled, 3 * 128 * 4) < smallest * 128
    assert found['published'] >= int(inputs.group.bincount().max()) * 128


def test_forms_compute_the_same(tool):
    """Of every gradient; the last class has a single row, and counts 0."""
    case = tool.Case(rows=40, keys=6, dim=5, classes=4)
    inputs = case.inputs('cpu')
    inputs.group[:] = torch.arange(40) % 3
    inputs.group[0] = 3
    found = {
        form: tool.results(tool.run_form(form, 'whole', inputs), form, 'whole', inputs)
        for form in tool.FORMS
    }
    ours, theirs = found['tiles'], found['published']
    assert list(ours) == list(theirs)
    assert len(ours) == 2 + 2 * len(tool.PARAMETERS)
    for name, value in theirs.items():
        assert_close(ours[name], value, rtol=1e-4, atol=1e-6)
        assert value.abs().max() > 1e-5, name
    assert not ours['features'][0].any()


def test_the_value_by_hand(tool):
    """Keys (1, 0) and (0, 1) of a class, rows of angles 0 and 45 degrees."""
    case = tool.Case(rows=2, keys=2, dim=2, classes=1)
    inputs = case.inputs('cpu')
    inputs.keys[:] = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    inputs.features[:] = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    expected = torch.tensor(1 - (1 + 0 + 2 * 0.5**0.5) / 4)
    for form in tool.FORMS:
        assert_close(tool.run_form(form, 'distance', inputs)['value'], expected)


def test_labels_as_in_real_images(tool):
    sizes = dict(rows=20_000, keys=2, dim=1, classes=19)
    even, skewed = (
        tool.Case(**sizes, skew=skew).inputs('cpu').group.bincount(minlength=19)
        for skew in (False, True)
    )
    assert even.max() < 1.3 * even.min()
    assert skewed.argmax() == 0 and skewed[0] > 50 * skewed[18:].clamp(min=1).max()


def test_grid(tool, tmp_path, capsys, in_process):
    out = tmp_path / 'out.json'
    options = [*SIZES, '--skew', '--repeats', '3', '--out', str(out)]
    assert tool.main(options) == 0
    cases = json.loads(out.read_text())['cases']
    names = [(case['classes'], case['part'], case['target']) for case in cases]
    each = [('distance', 4.0), ('whole', 2.5)]
    assert names == [(classes, *x) for classes in (2, 7) for x in each]
    for case in cases:
        assert case['skew'] is True
        assert list(case['seconds']) == list(case['memory']) == list(tool.FORMS)
        for passes in case['seconds'].values():
            assert [len(values) for values in passes.values()] == [3, 3]
        assert case['ratio'] == case['median']['published'] / case['median']['tiles']
        low, high = case['ratio_range']
        assert 0 < low <= high
    assert in_process == 4 * ['inputs', 'tiles', 'published']
    printed = capsys.readouterr().out
    assert printed.count('60 x 5 x 8 / 7 | skewed ') == 4 + 2 + 4


def test_the_printed_table(tool):
    seconds = dict(
        tiles=dict(forward=[0.001, 0.003, 0.002], backward=[0.002, 0.001, 0.002]),
        published=dict(forward=[0.004, 0.005, 0.006], backward=[0.006, 0.005, 0.004]),
    )
    case = dict(
        rows=7,
        keys=9,
        dim=3,
        classes=4,
        skew=False,
        part='whole',
        seconds=seconds,
        median=dict(tiles=0.004, published=0.01),
        ratio=2.5,
        ratio_range=[2.0, 3.25],
        target=2.5,
        memory=dict(tiles=10.0, published=80.0),
    )
    slow = dict(case, ratio=2.49)
    text = tool.report(dict(about=dict(seed=0), cases=[case, slow]))
    rows = [
        [cell.strip() for cell in line.split('|')[4:-1]]
        for line in text.splitlines()
        if '7 x 9 x 3 / 4 | uniform | whole' in line
    ]
    assert rows[:2] == [
        ['tiles', '2.0', '2.0', '4.0'],
        ['published', '5.0', '5.0', '10.0'],
    ]
    assert rows[4:6] == [
        ['2.50', '2.00 to 3.25', '2.5', 'yes'],
        ['2.49', '2.00 to 3.25', '2.5', 'no'],
    ]
    assert rows[6:8] == [['tiles', '10', '0.125'], ['published', '80', '1.000']]


def test_a_form_with_other_values_is_an_error(tool, monkeypatch):
    monkeypatch.setitem(tool.FORMS, 'tiles', lambda *args: tool.published(*args) * 1.1)
    with pytest.raises(ValueError, match='the forms differ in value by 0.1'):
        tool.main([*SIZES, '--parts', 'distance', '--no-memory'])


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='not Linux')
def test_memory_of_a_form(tool):
    """In real child processes: the cosines and their gradient are 31 MiB each."""
    command = [sys.executable, '-W', 'ignore', tool.__file__, '--threads', '1']
    command += ['--rows', '16000', '--keys', '512', '--dim', '8', '--classes', '2']
    command += ['--device', 'cpu', '--parts', 'distance', '--measure']
    peaks = {
        form: float(tool.last_line([*command, form]))
        for form in ('inputs', 'tiles', 'published')
    }
    assert peaks['tiles'] - peaks['inputs'] < 30
    assert peaks['published'] - peaks['inputs'] > 60


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--repeats', '0'], 'must be at least 1'),
        (['--keys', '1'], '--keys must be at least 2'),
        (['--rows', '150'], '--rows more than --classes'),
        (['--parts', 'other'], 'invalid choice'),
    ],
)
def test_bad_options(tool, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_args(options)
    assert message in capsys.readouterr().err
