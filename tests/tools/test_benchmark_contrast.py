import json
import sys
from pathlib import Path

import pytest
import tiny_run
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmsemiseg.benchmark import contrast_forms
from mmsemiseg.benchmark.contrast_forms import METHODS, Case
from mmsemiseg.benchmark.process import last_line

ROOT = Path(__file__).resolve().parents[2]
SIZES = dict(rows=40, keys=6, dim=5, classes=4)
EACH = [(name, variant) for name in METHODS for variant in METHODS[name].variants]


@pytest.fixture
def tool(load_tool, monkeypatch):
    """Memory is given back: the setting would stay for all later tests."""
    found = load_tool('benchmark/contrast')
    monkeypatch.setattr(found, 'keep_freed_memory', lambda: True)
    return found


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


@pytest.fixture
def config(tmp_path):
    """A method that takes only a part of the settings of its contrast."""
    student = tiny_run.tiny_student()
    contrast = dict(temperature=0.25, bank=dict(type='ClassQueueBank', size=6))
    cfg = tiny_run.config(tmp_path, tmp_path / 'run')
    cfg.model = dict(type='CTT', student=student, contrast=contrast)
    cfg.dump(tmp_path / 'mine.py')
    return str(tmp_path / 'mine.py')


@pytest.mark.parametrize(('name', 'variant'), EACH)
def test_forms_compute_the_same(monkeypatch, name, variant):
    monkeypatch.setattr(contrast_forms, 'KEYS_PER_CHUNK', 4)
    method = METHODS[name]
    case = Case(**SIZES, variant=variant, temperature=0.5)
    inputs = method.inputs(case, 'cpu')
    found = [method.run(form, case, inputs) for form in method.forms]
    for other in found[1:]:
        assert_close(other['value'], found[0]['value'], rtol=1e-4, atol=1e-5)
        assert_close(other['grad'], found[0]['grad'], rtol=1e-4, atol=1e-5)
    assert found[0]['grad'].abs().max() > 1e-4
    assert not inputs[0].requires_grad
    again = method.inputs(case, 'cpu')
    assert torch.equal(inputs[0], again[0])


def test_the_logsumexp_by_hand():
    case = Case(**SIZES, variant='negatives', temperature=0.5)
    inputs = rows, keys, mine, theirs = METHODS['cac'].inputs(case, 'cpu')
    expected = [
        torch.exp(keys[theirs != own] @ row / 0.5).sum()
        for row, own in zip(rows, mine, strict=True)
    ]
    found = METHODS['cac'].run('ours', case, inputs)['value']
    assert_close(found, torch.stack(expected).log())


def test_the_distance_by_hand():
    """Keys (1, 0) and (0, 1) of a class, rows of angles 0 and 45 degrees."""
    case = Case(2, 2, 2, 1, 'distance')
    inputs = METHODS['cmb'].inputs(case, 'cpu')
    inputs[2][:] = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    inputs[0][:] = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    expected = torch.tensor(1 - (1 + 0 + 2 * 0.5**0.5) / 4)
    for form in METHODS['cmb'].forms:
        found = METHODS['cmb'].run(form, case, inputs)
        assert_close(found['value'], expected)


def test_labels_as_in_real_images():
    even, skewed = (
        METHODS['cmb'].inputs(Case(20_000, 2, 1, 19, variant), 'cpu')[1].bincount()
        for variant in ('distance', 'distance, skewed')
    )
    assert even.max() < 1.3 * even.min()
    assert skewed.argmax() == 0 and skewed[0] > 50 * skewed[18:].clamp(min=1).max()


@pytest.mark.parametrize('variant', ['high', 'low'])
def test_half_of_the_rows(variant):
    confidences = [
        METHODS['ctt'].inputs(Case(2000, 2, 2, 3, name), 'cpu')[2]
        for name in (variant, f'{variant}, half')
    ]
    active = [c.gt(0.75) if variant == 'high' else c.lt(0.75) for c in confidences]
    assert active[0].all() and 900 < active[1].sum() < 1100


class Sizes(TorchDispatchMode):
    """The number of elements of every tensor that an operation returns."""

    def __init__(self):
        super().__init__()
        self.largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        self.largest = max([self.largest, *(x.numel() for x in tensors)])
        return out


@pytest.mark.parametrize('variant', METHODS['cmb'].variants)
def test_no_matrix_of_rows_and_keys(variant):
    """Not of all rows and not of those of a single class, in either pass."""
    case = Case(3000, 128, 4, 3, variant)
    inputs = METHODS['cmb'].inputs(case, 'cpu')
    count = inputs[1].bincount()
    found = {}
    for form in METHODS['cmb'].forms:
        with Sizes() as sizes:
            METHODS['cmb'].run(form, case, inputs)
        found[form] = sizes.largest
    tiled = (3000 // 128 + 3) * 128 * 4
    assert found['ours'] <= max(tiled, 3 * 128 * 4) < int(count.min()) * 128
    assert found['published'] >= int(count.max()) * 128


def test_time_and_memory(tool, config, tmp_path, capsys, in_process):
    out = tmp_path / 'out.json'
    options = ['--method', 'ctt', '--config', config, '--out', str(out)]
    options += ['--rows', '40', '--dim', '5', '8', '--variants', 'low']
    assert tool.main([*options, '--repeats', '3']) == 0
    cases = json.loads(out.read_text())['cases']
    sizes = [(c['keys'], c['dim'], c['classes'], c['temperature']) for c in cases]
    assert sizes == [(6, 5, 3, 0.25), (6, 8, 3, 0.25)]
    for case in cases:
        assert list(case['seconds']) == list(case['memory']) == ['ours', 'matrix']
        for passes in case['seconds'].values():
            assert [len(values) for values in passes.values()] == [3, 3]
    assert in_process == 2 * ['inputs', 'ours', 'matrix']
    assert capsys.readouterr().out.count('| 40 x 6 x 8 / 3') == 2


def test_the_printed_table(tool):
    seconds = dict(
        ours=dict(forward=[0.001, 0.003, 0.002], backward=[0.002, 0.001, 0.002]),
        matrix=dict(forward=[0.004, 0.005, 0.006], backward=[0.006, 0.005, 0.004]),
    )
    memory = dict(ours=10.0, matrix=80.0)
    case = dict(SIZES, variant='low', seconds=seconds, memory=memory)
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in tool.report([case]).splitlines()
        if '40 x 6' in line
    ]
    name = ['40 x 6 x 5 / 4', 'low']
    assert rows == [
        [*name, 'ours', '2.0', '2.0', '4.0', '1.00', '1.00 to 1.00', '10', '1.00'],
        [*name, 'matrix', '5.0', '5.0', '10.0', '2.50', '2.50 to 3.33', '80', '8.00'],
    ]
    del case['memory']
    assert 'MiB' not in tool.report([case])


@pytest.mark.parametrize(
    ('method', 'keys'), [('cac', 25_600), ('cmb', 256), ('ctt', 128), ('esl', 128)]
)
def test_sizes_of_the_benchmark_configs(tool, method, keys):
    cases = tool.cases_of(tool.parse_args(['--method', method]))
    assert {(case.keys, case.classes) for case in cases} == {(keys, 21)}
    assert [case.variant for case in cases] == list(METHODS[method].variants)


def test_a_form_with_other_values_is_an_error(tool, config, monkeypatch):
    forms = METHODS['ctt'].forms
    wrong = forms['ours']
    monkeypatch.setitem(forms, 'matrix', lambda *args: wrong(*args) * 1.1)
    options = ['--method', 'ctt', '--config', config, '--rows', '40', '--no-memory']
    with pytest.raises(ValueError, match='matrix differs in value by 0.1'):
        tool.main(options)


@pytest.mark.parametrize('model', [tiny_run.sup_only(), tiny_run.mean_teacher()])
def test_a_model_without_contrast(tool, model):
    with pytest.raises(ValueError, match='has no contrast'):
        tool.part_settings(model)


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='not Linux')
def test_memory_of_a_form(tool):
    """In real child processes: the logits and their gradient are 64 MiB each."""
    command = [sys.executable, '-W', 'ignore', tool.__file__, '--method', 'cac']
    command += ['--rows', '4096', '--keys', '4096', '--dim', '8', '--classes', '2']
    command += ['--device', 'cpu', '--threads', '1', '--measure']
    forms = ('inputs', 'ours', 'matrix')
    peaks = {form: float(last_line([*command, form])) for form in forms}
    assert peaks['ours'] - peaks['inputs'] < 30
    assert peaks['matrix'] - peaks['inputs'] > 120


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--repeats', '0'], 'must be at least 1'),
        (['--keys', '5', '1'], 'sizes at least 2'),
        (['--variants', 'other'], "--variants must be of ['high'"),
        (['--forms', 'published'], "--forms must be of ['ours', 'matrix']"),
    ],
)
def test_bad_options(tool, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_args(['--method', 'ctt', *options])
    assert message in capsys.readouterr().err
