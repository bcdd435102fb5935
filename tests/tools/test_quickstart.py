import cv2
import pytest


def test_two_trainings_a_table_and_pictures(load_tool, tmp_path, monkeypatch, capsys):
    tool = load_tool('quickstart')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tool, 'COUNTS', dict(labeled=8, unlabeled=8, val=3))
    assert tool.main(['--max-iters', '2', '--pictures', '2']) == 0
    table = (tmp_path / 'work_dirs/quickstart/table.txt').read_text()
    head, *rows = [line for line in table.splitlines() if line.startswith('|')]
    names = [cell.strip() for cell in head.split('|')[1:-1]]
    assert names[1:] == [
        'SupOnly',
        'MeanTeacher student',
        'MeanTeacher teacher',
        'gain of the teacher',
    ]
    cells = [cell.strip() for cell in rows[-1].split('|')[1:-1]]
    assert cells[0] == 'mIoU'
    sup, _, teacher, gain = map(float, cells[1:])
    assert gain == pytest.approx(teacher - sup, abs=0.11)
    assert table in capsys.readouterr().out
    pictures = sorted((tmp_path / 'work_dirs/quickstart/overlays').glob('*.png'))
    assert [path.name for path in pictures] == ['00.png', '01.png']
    assert cv2.imread(str(pictures[0])).shape == (192 + 24, 4 * 192, 3)


def test_several_seeds_are_averaged(load_tool):
    tool = load_tool('quickstart')
    assert tool._cell(tool.np.array([30.0, 33.0])) == '31.5 ± 2.1'
    assert tool._cell(tool.np.array([5.04]), '+') == '+5.0'
