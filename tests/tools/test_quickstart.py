from pathlib import Path

import cv2
import pytest


@pytest.fixture
def tool(load_tool, tmp_path, monkeypatch):
    tool = load_tool('quickstart')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, 'COUNTS', dict(labeled=8, unlabeled=8, val=3))
    return tool


def run(tool, *words):
    """Titles and the row of mIoU of the table, and the pictures."""
    assert tool.main(['--max-iters', '2', '--pictures', '2', *words]) == 0
    folder = Path('work_dirs/quickstart')
    text = (folder / 'table.txt').read_text()
    head, *_, last = [line for line in text.splitlines() if line.startswith('|')]
    titles, cells = (
        [cell.strip() for cell in line.split('|')[1:-1]] for line in (head, last)
    )
    assert cells[0] == 'mIoU'
    return titles[1:], cells[1:], text, sorted((folder / 'overlays').glob('*.png'))


def test_two_trainings_a_table_and_pictures(tool, capfd):
    titles, cells, text, pictures = run(tool)
    assert titles == ['SupOnly', 'CTT student', 'CTT teacher', 'gain of CTT']
    sup, student, _, gain = map(float, cells)
    assert gain == pytest.approx(student - sup, abs=0.11)
    printed = capfd.readouterr().out
    assert text in printed
    assert '$ mim train mmsemiseg configs/ctt/' in printed
    assert '[4/4]' in printed
    assert [path.name for path in pictures] == ['00.png', '01.png']
    assert cv2.imread(str(pictures[0])).shape == (192 + 24, 4 * 192, 3)


def test_two_methods(tool, monkeypatch):
    def train(config, work_dir, seed, max_iters):
        scores = {'sup-only': (50, 51), 'mean-teacher': (60, 65), 'ctt': (70, 72)}
        name, (student, teacher) = next(
            (n, s) for n, s in scores.items() if f'/{n}_' in config
        )
        networks = dict(student=student + seed, teacher=teacher + seed)
        if name == 'ctt':
            networks = {f'{key}0': value for key, value in networks.items()}
        runs[work_dir] = {f'{k}/{c}': v for k, v in networks.items() for c in CLASSES}

    CLASSES = ('mIoU', 'IoU.disk')
    runs = {}
    monkeypatch.setattr(tool, 'train', train)
    monkeypatch.setattr(tool, 'last_metrics', lambda folder: runs[folder])
    monkeypatch.setattr(tool, 'write_overlays', lambda *args: 'none')
    Path('work_dirs/quickstart').mkdir(parents=True)
    titles, cells, text, _ = run(
        tool, '--methods', 'MeanTeacher', 'CTT', '--seeds', '1'
    )
    assert dict(zip(titles, cells, strict=True)) == {
        'SupOnly': '51.0',
        'MeanTeacher student': '61.0',
        'MeanTeacher teacher': '66.0',
        'CTT student': '71.0',
        'CTT teacher': '73.0',
        'gain of MeanTeacher': '+15.0',
        'gain of CTT': '+20.0',
    }
    assert '| disk ' in text


def test_several_seeds_are_averaged(load_tool):
    tool = load_tool('quickstart')
    assert tool._cell(tool.np.array([30.0, 33.0])) == '31.5 ± 2.1'
    assert tool._cell(tool.np.array([5.04]), '+') == '+5.0'
