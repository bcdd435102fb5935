import shlex
from pathlib import Path

import pytest

from mmsemiseg.start import choices
from mmsemiseg.start.probe import Probe

OUT = Path('work_dirs/quickstart')


@pytest.fixture
def tool(load_tool, tmp_path, monkeypatch):
    tool = load_tool('quickstart')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, 'COUNTS', dict(labeled=8, unlabeled=8, val=3))
    return tool


@pytest.fixture
def quickstart(tool):
    """``quickstart(words...)`` runs the tool with few images."""
    return lambda *words: tool.main(tool.parse_args(words))


@pytest.fixture
def asked(tool, monkeypatch):
    """Options that `start` was called with; nothing is trained or predicted."""
    found = []
    monkeypatch.setattr(tool.flow, 'run', lambda options, *say: found.append(options))
    monkeypatch.setattr(tool, 'predict', lambda options: None)
    return found


def test_data_start_and_predictions(quickstart, monkeypatch, capfd):
    monkeypatch.setattr(
        choices, 'probe', lambda config, extent: Probe(1.0, 0.1, 2.0, 2**30)
    )
    quickstart('--iterations', '2')
    said = capfd.readouterr().out
    steps = (
        'data/shapes: 8 images with a mask, 8 without, 3 to validate',
        '$ mim run mmsemiseg start --images data/shapes/images',
        '8 labeled, 8 unlabeled, 3 validation',
        'Training 2 of 2: MeanTeacher',
        (OUT / 'table.txt').read_text(),
        '$ mim run mmsemiseg predict work_dirs/quickstart/mean-teacher/iter_2.pth',
        '3 images in',
    )
    places = [said.find(text) for text in steps]
    assert -1 not in places and places == sorted(places)
    assert 'disk with dots' in steps[4] and 'MeanTeacher teacher' in steps[4]
    assert (OUT / 'report.html').is_file()
    for kind in ('masks', 'overlays'):
        files = (OUT / 'predictions' / kind).iterdir()
        assert sorted(path.stem for path in files) == [f'val_000{i}' for i in range(3)]


def test_the_printed_command_asks_for_the_same(quickstart, asked, load_tool, capsys):
    quickstart('--method', 'CTT', '--seed', '1', '--out', 'a folder')
    start = load_tool('start')
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if ' start ' in line)
    start.main(start.parse_args(shlex.split(line)[5:]))
    first, second = asked
    assert first == second
    assert (first.method, first.seed, first.out) == ('CTT', 1, 'a folder')


def test_data_that_are_complete_are_kept(quickstart, asked, capsys):
    for changed in ('images/shapes_0000.png', 'val/masks/val_0002.png'):
        quickstart()
        Path('data/shapes', changed).unlink()
    assert 'data/shapes is there already' in capsys.readouterr().out
    assert not Path('data/shapes/images/shapes_0000.png').exists()
    quickstart()
    assert 'is there already' not in capsys.readouterr().out
    assert Path('data/shapes/images/shapes_0000.png').is_file()


def test_an_earlier_one_is_gone_on_with_when_asked(quickstart, tool, monkeypatch):
    OUT.mkdir(parents=True)
    (OUT / 'start.json').write_text('{}')
    with pytest.raises(FileExistsError, match='--resume goes on with it'):
        quickstart()
    predicted = []
    monkeypatch.setattr(tool.flow, 'resume', lambda out, say: f'options of {out}')
    monkeypatch.setattr(tool, 'predict', predicted.append)
    quickstart('--resume')
    assert predicted == [f'options of {OUT}']


def test_methods_that_its_network_cannot_learn_are_no_choice(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(['--method', 'RC2L'])
    assert "choose from 'MeanTeacher', 'FixMatch'" in capsys.readouterr().err
