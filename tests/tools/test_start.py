import json
import subprocess
from types import SimpleNamespace

import pytest
from start_data import write_folders

from mmsemiseg.start import choices, runs
from mmsemiseg.start.probe import OutOfMemory, Probe
from mmsemiseg.start.runs import TrainingError

SMALL = ('--from-scratch', '--scale', '96', '--batch', '2', '--iterations', '4')
FOLDERS = ('--images', 'photos', '--masks', 'gt', '--unlabeled', 'more')


@pytest.fixture
def start(load_tool, tmp_path, monkeypatch):
    """``start(words...)`` runs the tool beside small folders of images."""
    tool = load_tool('start')
    monkeypatch.chdir(tmp_path)
    write_folders(tmp_path)
    return lambda *words: tool.main(tool.parse_args([*words]))


@pytest.fixture
def quick(monkeypatch):
    """Steps are not measured: each takes a second."""
    monkeypatch.setattr(
        choices, 'probe', lambda config, extent: Probe(1.0, 0.1, 2.0, 2**30)
    )


def test_folders_to_a_table(start, tmp_path, monkeypatch, capfd):
    trained = []

    def only_the_first(command, **settings):
        trained.append(command)
        if len(trained) == 2:
            return SimpleNamespace(returncode=9)
        return run(command, **settings)

    run = subprocess.run
    monkeypatch.setattr(runs, 'subprocess', SimpleNamespace(run=only_the_first))
    with pytest.raises(TrainingError, match='MeanTeacher ended with the status 9'):
        start(*FOLDERS, *SMALL)
    out = tmp_path / 'work_dirs/start'
    assert (out / 'sup-only/iter_4.pth').is_file()
    assert not (out / 'table.txt').exists()
    start('--resume')
    assert [command[3] for command in trained] == ['train'] * 3 + ['report']
    assert (out / 'report.html').is_file()
    assert trained[2][4:] == [
        'work_dirs/start/configs/mean-teacher.py',
        '--work-dir',
        'work_dirs/start/mean-teacher',
        '--resume',
    ]
    table = (out / 'table.txt').read_text()
    assert '| mIoU' in table
    assert 'MeanTeacher student' in table
    said = capfd.readouterr().out
    for text in (
        '4 labeled, 6 unlabeled, 2 validation',
        's a step at long side 96',
        'every file was read: nothing forbids training',
        'Training 2 of 2: MeanTeacher',
        'work_dirs/start/sup-only is finished',
        'mim test mmsemiseg work_dirs/start/mean-teacher/config.py --checkpoint',
        table,
    ):
        assert text in said
    with pytest.raises(FileExistsError, match='--resume goes on with it'):
        start(*FOLDERS, *SMALL)


def test_dry_run_writes_nothing(start, tmp_path, quick, capsys):
    before = {path.name for path in tmp_path.iterdir()}
    start(*FOLDERS, '--hours', '0.5', '--from-scratch', '--dry-run')
    assert {path.name for path in tmp_path.iterdir()} == before
    said = capsys.readouterr().out
    for text in (
        'edit a copy of classes.json, which is printed at the end',
        '# work_dirs/start/classes.json\n{\n  "masks": "colours"',
        '# work_dirs/start/configs/mean-teacher.py',
        "ann_file='work_dirs/start/data/labeled.txt'",
        'what fits 0.5 h',
        'predicted   from the command to the table: 28 min',
        'leave out --dry-run',
    ):
        assert text in said


def test_what_is_chosen_can_be_given(start, quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runs, 'train_all', lambda *args: None)
    from mmsemiseg.start import flow

    monkeypatch.setattr(flow, 'train_all', lambda *args: None)
    monkeypatch.setattr(flow, 'report', lambda *args: '')
    words = (*FOLDERS, *SMALL, '--crop', '64', '96', '--rate', '0.01')
    start(*words, '--precision', 'fp32', '--method', 'FixMatch', '--out', 'o')
    plan = json.loads((tmp_path / 'o/start.json').read_text())['plan']
    given = dict(side=96, crop=[64, 96], batch=2, rate=0.01, iterations=4)
    assert given.items() <= plan.items()
    assert plan['precision'] is None
    assert {plan['reasons'][name] for name in ('scale', 'crop', 'batch', 'rate')} == {
        '--scale',
        '--crop',
        '--batch',
        '--rate',
    }
    assert (tmp_path / 'o/configs/fix-match.py').is_file()


def test_the_rate_of_a_network_of_the_users(start, quick, tmp_path, capsys):
    (tmp_path / 'mine.py').write_text(
        'model = dict(type="EncoderDecoder", backbone=dict(type="EfficientNetLite", '
        'arch="lite0", out_indices=(1, 2, 4, 6)), decode_head=dict(type="FCNHead", '
        'in_channels=320, in_index=3, channels=8, num_classes=19))\n'
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.3))\n"
    )
    words = (*FOLDERS, *SMALL, '--student', 'mine.py', '--dry-run')
    for more, rate, reason in (
        ((), 0.3, 'SGD, as the config says'),
        (('--rate', '0.2'), 0.2, '--rate'),
    ):
        start(*words, *more)
        said = capsys.readouterr().out
        assert said.count(f"optimizer={{'type': 'SGD', 'lr': {rate}}}") == 2
        line = next(x for x in said.splitlines() if x.startswith('  rate '))
        assert line.split(maxsplit=2) == ['rate', f'{rate}', reason]


def test_the_batch_is_halved_until_it_fits(start, monkeypatch, capsys):
    sizes = []

    def probe(config, extent):
        text = open(config.replace('fix-match', 'data').replace('sup-only', 'data'))
        size = int(text.read().split('batch_size=')[1].split(',')[0])
        sizes.append(size)
        if size > 2:
            raise OutOfMemory('no memory')
        return Probe(1.0, 0.1, 2.0, 2**30)

    monkeypatch.setattr(choices, 'probe', probe)
    start(*FOLDERS, '--from-scratch', '--method', 'FixMatch', '--dry-run')
    assert sizes == [4, 2, 2]
    assert 'halved until a step fits the memory' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'error', 'message'),
    [
        (['--images', 'nowhere'], FileNotFoundError, '--images must be a folder'),
        (['--images', 'photos'], ValueError, 'nothing tells images from masks'),
        (['--images', 'gt', '--masks', 'photos'], ValueError, 'it is a photograph'),
        ([*FOLDERS, '--val', 'more'], ValueError, 'nothing tells images from masks'),
        ([*FOLDERS, '--hours', '-1'], ValueError, '--hours must be above 0'),
        ([*FOLDERS, '--labels', '99'], ValueError, '--labels must be from 2 to 4'),
        ([*FOLDERS, '--classes', 'no.txt'], FileNotFoundError, 'class file does not'),
        ([*FOLDERS, '--student', 'no.py'], FileNotFoundError, 'config: there is no'),
        (['--resume', '--out', 'new'], FileNotFoundError, 'new holds no start'),
    ],
)
def test_what_cannot_be(start, tmp_path, words, error, message):
    if '--masks' in words and words[1] == 'gt':
        for path in (tmp_path / 'gt').iterdir():
            path.rename(path.with_name(path.name.replace('_gt', '')))
    with pytest.raises(error, match=message):
        start(*words)
    assert not (tmp_path / 'work_dirs/start/start.json').exists()


def test_options_of_the_parser(load_tool, capsys):
    tool = load_tool('start')
    for words in ([], ['--images', 'a', '--val', 'b', 'c', 'd']):
        with pytest.raises(SystemExit):
            tool.parse_args(words)
    assert '--images is required' in capsys.readouterr().err


def test_large_images_are_copied_for_training(start, tmp_path, quick, monkeypatch):
    from mmsemiseg.start import flow

    monkeypatch.setattr(flow, 'train_all', lambda *args: None)
    monkeypatch.setattr(flow, 'report', lambda *args: '')
    start(*FOLDERS, '--from-scratch', '--scale', '32', '--crop', '32', '32')
    out = tmp_path / 'work_dirs/start'
    text = (out / 'configs/data.py').read_text()
    copies = 'work_dirs/start/data/long-side-64'
    assert f"ann_file='{copies}/labeled.txt'" in text
    assert f"img_path='{copies}/labeled'" in text
    assert "ann_file='work_dirs/start/data/val.txt'" in text
    assert len(list((out / 'data/long-side-64/unlabeled').iterdir())) == 6
