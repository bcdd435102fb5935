"""A report of runs from the command line."""

import subprocess
import sys
from pathlib import Path

import pytest
from run_files import records_of, run_config, write_pair, write_run
from tiny_run import config, sup_only, train, write_data

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'report.py'


@pytest.fixture
def tool(load_tool, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_tool('report')


def call(tool, *words):
    tool.main(tool.parse_args([*map(str, words)]))


def test_two_runs(tool, tmp_path, capsys):
    write_pair(tmp_path / 'runs')
    call(tool, 'runs/mt', 'runs/sup')
    assert 'Report: mt, sup' in Path('runs/mt/report.html').read_text()
    printed = capsys.readouterr().out
    assert 'worth +5.0 mIoU' in printed and 'runs/mt/report.html: ' in printed


def test_names_and_a_folder_of_runs(tool, tmp_path):
    write_pair(tmp_path / 'runs')
    call(tool, 'ours=runs/mt', 'runs', '--out', 'new/a.html', '--title', 'Mine')
    text = Path('new/a.html').read_text()
    assert (
        '<h2>ours</h2>' in text and '<h2>sup</h2>' in text and '<h2>mt</h2>' not in text
    )
    assert '<h1>Mine</h1>' in text


def trained(data, work, model):
    cfg = config(data, work, model, max_iters=4)
    cfg.visualizer = dict(
        type='SegLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]
    )
    cfg.train_cfg.val_interval = 2
    if model is not None and model['type'] == 'SupOnly':
        del cfg.train_dataloader['unlabeled']
    runner = train(cfg)
    runner.visualizer.close()
    if not (work / 'config.py').is_file():
        runner.cfg.dump(work / 'config.py')


def test_runs_as_they_are_trained(tool, tmp_path, capsys):
    data = write_data(tmp_path / 'data')
    for name, model in (('mt', None), ('sup', sup_only())):
        trained(data, tmp_path / 'work' / name, model)
    call(tool, 'work', '--out', 'r.html')
    text = Path('r.html').read_text()
    assert 'with the same 2 labels alone' in text
    assert 'SupOnly' in text and 'MeanTeacher' in text
    assert not list(Path('work').rglob('report_pictures'))
    capsys.readouterr()

    call(tool, 'work', '--out', 'r.html', '--draw', '--pictures', '2')
    told = capsys.readouterr().out
    drawn = {
        name: sorted(
            p.relative_to(f'work/{name}/report_pictures').as_posix()
            for p in Path(f'work/{name}/report_pictures').rglob('*.png')
        )
        for name in ('mt', 'sup')
    }
    validation = ['validation/00.png', 'validation/01.png']
    assert drawn['sup'] == ['features/classes.png', *validation], told
    pseudo = ['pseudo_labels/00.png', 'pseudo_labels/01.png']
    assert drawn['mt'] == ['features/classes.png', *pseudo, *validation], told
    text = Path('r.html').read_text()
    assert text.count('Validation images</h3>') == text.count('(t-SNE)</h3>') == 2
    assert text.count('Unlabeled images and their pseudo labels</h3>') == 1
    call(tool, 'work', '--out', 'r.html', '--draw', '--pictures', '1')
    assert len(list(Path('work').rglob('validation/*.png'))) == 2  # of two runs
    assert text.count('class="swatch"') == 3 * 3  # classes in the pictures of rows


def test_runs_that_cannot_be_drawn(tool, tmp_path, capsys):
    write_pair(tmp_path / 'runs')
    (tmp_path / 'runs' / 'sup' / 'last_checkpoint').write_text('gone/iter_1.pth')
    call(tool, 'runs/mt', 'runs/sup', '--draw')
    told = capsys.readouterr().out
    for name in ('mt', 'sup'):
        assert f'{name}: nothing is drawn: runs/{name} has no checkpoint' in told
    assert Path('runs/mt/report.html').is_file()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ('nowhere', 'there is no folder nowhere'),
        ('empty', 'no work folder of a run'),
        ('runs/mt --out empty', 'is a folder'),
        ('runs/mt --pictures -1', 'at least 0'),
        ('bare', 'no config.py'),
    ],
)
def test_wrong_settings(tool, tmp_path, words, message):
    write_pair(tmp_path / 'runs')
    (tmp_path / 'empty').mkdir()
    write_run(tmp_path / 'bare', run_config(), records_of((1, 2)))
    (tmp_path / 'bare' / 'config.py').unlink()
    with pytest.raises(Exception, match=message):
        call(tool, *words.split())


def test_an_error_is_a_message(tmp_path):
    command = [sys.executable, str(TOOL), 'nowhere']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert 'there is no folder nowhere' in done.stderr
    assert 'Traceback' not in done.stderr
