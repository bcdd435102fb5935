import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny_run
import torch
from mmengine.config import Config
from torch.testing import assert_close

ROOT = Path(__file__).resolve().parents[2]
CAC = 'configs/benchmark/cac_deeplabv3plus-r50_synthetic-320.py'
SIZES = ['--anchors', '7', '--keys', '9', '20', '--dim', '3', '--groups', '4']


@pytest.fixture
def tool(load_tool):
    return load_tool('benchmark/contrast')


@pytest.fixture
def in_process(tool, monkeypatch, capsys):
    """Child processes run inside this one, to be quick; counts them."""
    commands = []

    def child(command):
        commands.append(command)
        capsys.readouterr()
        assert tool.main(command[command.index(tool.__file__) + 1 :]) == 0
        return capsys.readouterr().out.splitlines()[-1]

    monkeypatch.setattr(tool, 'last_line', child)
    return commands


def run(tool, folder, *options):
    out = folder / 'out.json'
    assert tool.main([*options, '--out', str(out)]) == 0
    return json.loads(out.read_text())


def test_forms_compute_the_same(tool, monkeypatch):
    monkeypatch.setattr(tool, 'KEYS_PER_CHUNK', 8)
    case = tool.Case(anchors=30, keys=50, dim=5, groups=3)
    inputs = case.inputs('cpu')
    anchors, keys, mine, theirs = inputs
    assert [tuple(x.shape) for x in inputs] == [(30, 5), (50, 5), (30,), (50,)]
    assert_close(keys.norm(dim=1), torch.ones(50))
    assert set(mine.tolist()) == set(theirs.tolist()) == {0, 1, 2}
    exact = anchors.double().requires_grad_()
    logits = exact @ keys.double().T / tool.TEMPERATURE
    expected = logits.masked_fill(mine[:, None] == theirs, -torch.inf).logsumexp(1)
    expected.sum().backward()
    for form in tool.FORMS:
        done = tool.run_form(form, case, inputs)
        assert_close(done['lse'].double(), expected, rtol=1e-5, atol=1e-5)
        assert_close(done['grad'].double(), exact.grad, rtol=1e-4, atol=1e-5)
        assert done['forward'] > 0 and done['backward'] > 0
    assert not anchors.requires_grad and anchors.grad is None


def test_chunks_of_the_published_form(tool, monkeypatch):
    sizes = []
    original = tool.materialised
    monkeypatch.setattr(
        tool,
        'materialised',
        lambda case, anchors, keys, *groups: [
            sizes.append(len(keys)),
            original(case, anchors, keys, *groups),
        ][1],
    )
    case = tool.Case(anchors=2, keys=17_000, dim=2, groups=2)
    tool.run_form('checkpoint', case, case.inputs('cpu'))
    # computed again in the backward pass, in any order
    assert sizes[:3] == [8000, 8000, 1000] and sorted(sizes[3:]) == [1000, 8000, 8000]


def test_grid(tool, tmp_path, capsys, in_process):
    result = run(tool, tmp_path, *SIZES, '--repeats', '3')
    assert [case['keys'] for case in result['cases']] == [9, 20]
    for case in result['cases']:
        assert list(case['seconds']) == list(case['memory']) == list(tool.FORMS)
        for form, seconds in case['seconds'].items():
            assert [len(x) for x in seconds.values()] == [3, 3]
            totals = [sum(x) for x in zip(*seconds.values(), strict=True)]
            assert case['best'][form] == min(totals)
    assert len(in_process) == 2 * (1 + len(tool.FORMS))
    measured = [command[command.index('--measure') + 1] for command in in_process]
    assert measured[:5] == ['inputs', *tool.FORMS]


def test_the_printed_table(tool):
    seconds = dict(
        kernel=dict(forward=[2.0, 1.0], backward=[0.5, 0.25]),
        materialised=dict(forward=[2.0, 9.0], backward=[3.0, 9.0]),
    )
    case = dict(
        anchors=7,
        keys=9,
        dim=3,
        groups=4,
        seconds=seconds,
        best=dict(kernel=1.25, materialised=5.0),
        memory=dict(kernel=10.0, materialised=80.0),
    )
    text = tool.report(dict(about=dict(seed=0), linear=False, cases=[case]))
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in text.splitlines()
        if '7 x 9 x 3 / 4' in line
    ]
    name = '7 x 9 x 3 / 4'
    assert rows == [
        [name, 'kernel', '1.000', '0.250', '1.250', '1.875', '1.00'],
        [name, 'materialised', '2.000', '3.000', '5.000', '11.500', '4.00'],
        [name, 'kernel', '10', '0.125'],
        [name, 'materialised', '80', '1.000'],
    ]


def test_linear(tool, tmp_path, capsys, in_process):
    result = run(tool, tmp_path, '--linear', *SIZES, '--repeats', '1', '--no-memory')
    assert [list(case['best']) for case in result['cases']] == [['kernel'], ['kernel']]
    assert in_process == []
    cases = [
        dict(anchors=7, keys=n, dim=256, groups=4, best=best, memory=memory)
        for n, best, memory in (
            (1024, dict(kernel=1.0), dict(kernel=3.0)),
            (4096, dict(kernel=6.0), dict(kernel=8.0)),
        )
    ]
    text = tool.report(dict(about={}, linear=True, cases=cases))
    rows = [
        [cell.strip() for cell in line.split('|')[3:-1]]
        for line in text.splitlines()
        if 'kernel' in line
    ]
    assert rows == [
        ['1.000', '976.56', '1.00', '1.0', '3.0', '3.00'],
        ['6.000', '1464.84', '1.50', '4.0', '8.0', '2.00'],
    ]


def test_a_form_with_other_values_is_an_error(tool, monkeypatch):
    monkeypatch.setitem(
        tool.FORMS, 'plain', lambda *args: tool.materialised(*args) * 1.01
    )
    with pytest.raises(ValueError, match='kernel and plain differ in lse by 0.01'):
        tool.main([*SIZES, '--no-memory'])


@pytest.mark.skipif(not Path('/proc/self/clear_refs').exists(), reason='not Linux')
def test_memory_of_a_form():
    """In real child processes: the logits and their gradient are 64 MiB each."""
    command = [sys.executable, '-W', 'ignore', 'tools/benchmark/contrast.py']
    command += ['--anchors', '4096', '--keys', '4096', '--dim', '8', '--groups', '2']
    command += ['--device', 'cpu', '--threads', '1', '--measure']
    peaks = {}
    for form in ('inputs', 'kernel', 'materialised'):
        done = subprocess.run(
            [*command, form], cwd=ROOT, check=True, capture_output=True, text=True
        )
        peaks[form] = float(done.stdout.splitlines()[-1])
    assert peaks['kernel'] - peaks['inputs'] < 30
    assert peaks['materialised'] - peaks['inputs'] > 120


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--repeats', '0'], 'must be at least 1'),
        (['--keys', '5', '0'], 'must be at least 1'),
        (['--groups', '1'], '--groups must be at least 2'),
        (['--forms', 'other'], 'invalid choice'),
    ],
)
def test_bad_options(tool, capsys, options, message):
    with pytest.raises(SystemExit):
        tool.parse_args(options)
    assert message in capsys.readouterr().err


# Steps of CAC


TINY = [
    'synthetic.size=80',
    'synthetic.counts.labeled=2',
    'synthetic.counts.unlabeled=2',
    'model.student.backbone.depth=18',
    'model.student.backbone.base_channels=8',
    'model.student.decode_head.in_channels=64',
    'model.student.decode_head.c1_in_channels=8',
    'model.student.decode_head.channels=8',
    'model.contrast.num_negatives=64',
]


@pytest.fixture
def tiny_cac(tmp_path):
    """The benchmark's config, with small images and a small network."""
    cfg = Config.fromfile(ROOT / CAC)
    tiny_run.shrink(cfg.train_dataloader)
    options = [option.split('=') for option in TINY]
    cfg.merge_from_dict({key: int(value) for key, value in options})
    for loader in cfg.train_dataloader.values():
        loader.batch_size = 2
    path = tmp_path / 'cac.py'
    cfg.dump(path)
    return str(path)


def test_table4(tool, tiny_cac, tmp_path, in_process, monkeypatch, capsys):
    """Two crops x two steps of `negatives` / 4 cells; the bank is full."""
    seen, lengths = [], []
    original = tool.StepsInTurn.set_negatives

    def set_negatives(self, number):
        original(self, number)
        contrast = self.model.contrast
        queue = contrast.bank
        assert queue.labels.ge(0).all()
        seen.append((number, contrast.num_negatives, queue.size))
        draw = type(contrast).negatives

        def negatives(own):
            found = draw(contrast, own)
            lengths.append(len(found.label))
            return found

        contrast.negatives = negatives

    monkeypatch.setattr(tool.StepsInTurn, 'set_negatives', set_negatives)
    options = ['--cac-table4', tiny_cac, '--negatives', '8', '256', '--repeats', '2']
    result = run(tool, tmp_path, *options, '--device', 'cpu')
    each = [(8, 2, 4), (256, 64, 128)]
    memory = [each[0], each[0], each[1], each[1]]
    assert seen == each * 3 + memory
    assert lengths == [number for number, *_ in seen]
    assert [len(x) for x in result['seconds'].values()] == [2, 2]
    assert all(peak > 50 for peak in result['memory'].values())
    assert len(in_process) == 2


def test_the_printed_table_of_table4(tool):
    result = dict(
        about={},
        seconds={500: [2.0, 4.0], 19_200: [5.0, 3.0], 25_600: [4.0, 4.0]},
        memory={500: 100.0, 19_200: 150.0, 25_600: 90.0},
    )
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in tool.table4_report(result).splitlines()
        if '|' in line
    ]
    assert rows[1:] == [
        ['500', '2.000', '3.000', '1.000', '0.96', '100', '+0', '+0'],
        ['19200', '3.000', '4.000', '1.500', '1.18', '150', '+50', '+800'],
        ['25600', '4.000', '4.000', '2.000', '', '90', '-10', ''],
    ]
    del result['memory']
    assert 'MiB' not in tool.table4_report(result)


def test_table4_refuses_other_methods_and_odd_numbers(tool):
    model = tool.CAC.__new__(tool.CAC)
    torch.nn.Module.__init__(model)
    model.contrast = torch.nn.Module()
    model.contrast.bank, model.contrast.num_negatives = tool.StepQueue(3, 8, 2), 4
    runner = SimpleNamespace(train_loop=SimpleNamespace(run_iter=None), model=model)
    with pytest.raises(ValueError, match=r'multiples of 8, two crops in each of 4'):
        tool.StepsInTurn(runner, [16, 6], 1)
    model.contrast.bank = None
    assert list(tool.StepsInTurn(runner, [16, 6], 1).seconds) == [16, 6]
    runner.model = torch.nn.Linear(1, 1)
    with pytest.raises(ValueError, match='needs model.type=CAC, but it is Linear'):
        tool.StepsInTurn(runner, [16], 1)
