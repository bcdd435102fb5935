"""Predict a folder of images with a checkpoint alone."""

import subprocess
import sys
from pathlib import Path

import pytest
from saved_model import run_config, save_model, write_images
from tiny_run import mean_teacher

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'predict.py'


@pytest.fixture
def tool(load_tool):
    return load_tool('predict')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with ``a.pth`` and ``new/`` of images, which is the current one."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / 'new', {'seq/1.png': (20, 32), '2.jpg': (24, 24)})
    save_model(tmp_path / 'a.pth')
    return tmp_path


def call(tool, *words):
    return tool.main(tool.parse_args([*map(str, words), '--workers', '0']))


def test_a_checkpoint_is_enough(tool, folder, capsys):
    assert call(tool, 'a.pth', 'new', '--device', 'cpu') == 0
    assert (folder / 'predictions' / 'new' / 'masks' / 'seq' / '1.png').is_file()
    printed = capsys.readouterr().out
    assert 'teacher of MeanTeacher on cpu, 3 classes\nconfig: the checkpoint' in printed
    assert 'whole image, input resized within 48 x 48' in printed
    assert '2 images in' in printed and 'predictions/new/masks' in printed


def test_all_options(tool, folder, capsys):
    words = '--out o --overlay --confidence --rank r.txt --network student --tta flip'
    words += ' --slide 16x24 --batch-size 2 --cfg-options crop_size=(8,8)'
    assert call(tool, 'a.pth', 'new', *words.split()) == 0
    assert len(Path('r.txt').read_text().split()) == 2
    assert {path.name for path in Path('o').iterdir()} == {
        'confidence',
        'masks',
        'overlays',
        'predictions.json',
    }
    assert 'to label next: r.txt' in capsys.readouterr().out


def test_an_explicit_config(tool, folder, capsys):
    run_config(mean_teacher(predict_with='student')).dump('mine.py')
    assert call(tool, 'a.pth', 'new', '--config', 'mine.py') == 0
    assert 'student of MeanTeacher' in capsys.readouterr().out


def test_failed_images_are_grouped_by_reason(tool, folder, capsys):
    for name in ('3.png', '4.png'):
        (folder / 'new' / name).write_bytes(b'no image')
    (folder / 'new' / 'notes.md').touch()
    assert call(tool, 'a.pth', 'new') == 2
    printed = capsys.readouterr()
    assert '1 files have no suffix of an image' in printed.out
    assert 'not predicted: 2 images\n  3.png, 4.png: ' in printed.err


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('b.pth new', 'CHECKPOINT: there is no file b.pth'),
        ('new/2.jpg new', 'torch.save did not write it'),
        ('a.pth nowhere', 'there is no folder nowhere'),
        ('a.pth a.pth', 'there is no folder a.pth'),
        ('a.pth new --out new/predicted', 'must lie apart'),
        ('a.pth new --out full', 'holds other content'),
        ('a.pth new --rank full', 'is a folder'),
        ('a.pth new --network best', 'network of MeanTeacher'),
        ('a.pth new --slide', 'has the size of a window'),
        ('a.pth new --device nowhere', '--device nowhere'),
        ('a.pth new --config b.py', 'config: there is no file b.py'),
    ],
)
def test_wrong_settings(tool, folder, words, message):
    (folder / 'full').mkdir()
    (folder / 'full' / 'thesis.txt').touch()
    with pytest.raises(Exception, match=message):
        call(tool, *words.split())
    assert not (folder / 'predictions').exists() or not list(
        (folder / 'predictions').rglob('*.png')
    )


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('--slide 1x2x3', 'no size'),
        ('--slide 0', '--slide'),
        ('--batch-size 0', 'not above 0'),
        ('--whole --slide', 'not allowed'),
    ],
)
def test_wrong_words(tool, words, message, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(['a.pth', 'new', *words.split()])
    assert message in capsys.readouterr().err


def test_exit_status(folder):
    (folder / 'new' / '3.png').write_bytes(b'no image')
    command = [sys.executable, str(TOOL), 'a.pth', 'new', '--device', 'cpu']
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert 'not predicted: 1 images' in done.stderr
    assert 'Traceback' not in done.stderr
    assert (folder / 'predictions' / 'new' / 'masks' / '2.png').is_file()
