import json

import pytest
from run_files import records_of, run_config, write_pair, write_run

from mmsemiseg.reporting import find_runs, read_run


def test_a_run(tmp_path):
    run = read_run(write_pair(tmp_path)[0])
    assert (run.name, run.seed, run.iterations, run.planned) == ('mt', 0, 100, 100)
    assert (run.num_labeled, run.is_baseline, run.tested) == (16, False, 'student')
    assert run.scores['teacher'] == dict(a=10, b=20, mIoU=15)
    assert run.curve('loss') == [(25, 2.0), (50, 1.0), (75, 2 / 3)]
    assert read_run(tmp_path / 'sup').is_baseline


@pytest.mark.parametrize(
    ('predict_with', 'tested'),
    [('teacher', 'teacher'), ('mean', 'student'), ('mean_students', 'student')],
)
def test_the_network_that_predicts(tmp_path, predict_with, tested):
    cfg = run_config()
    cfg['model']['predict_with'] = predict_with
    folder = write_run(tmp_path, cfg, records_of((1, 2), teacher=(3, 4)))
    assert read_run(folder).tested == tested


@pytest.mark.parametrize(
    ('method', 'tested'),
    [
        ('MeanTeacher', 'teacher'),
        ('FixMatch', 'student'),
        ('ESL', 'teacher'),
        ('CTT', 'student'),
        ('MethodOfMine', 'student'),
    ],
)
def test_the_network_that_predicts_by_default(tmp_path, method, tested):
    cfg = run_config(method)
    del cfg['model']['predict_with']
    folder = write_run(tmp_path, cfg, records_of((1, 2), teacher=(3, 4)))
    assert read_run(folder).tested == tested


def test_scores_of_a_plain_loop(tmp_path):
    records = [dict(loss=1.0, step=1), {'mIoU': 12.0, 'aAcc': 3.0, 'step': 2}]
    cfg = run_config('SupOnly', train_dataloader=dict(dataset=dict(type='A')))
    run = read_run(write_run(tmp_path, cfg, records))
    assert run.scores == dict(model=dict(mIoU=12.0))
    assert run.is_baseline and run.num_labeled is None


def test_a_resumed_run_has_its_earlier_part(tmp_path):
    cfg = run_config()
    write_run(tmp_path, cfg, [dict(loss=1.0, step=n) for n in (1, 2, 3)])
    later = [dict(loss=2.0, step=n) for n in (3, 4)]
    lines = [('INFO', 'resuming from iter_2.pth')]
    write_run(tmp_path, cfg, later, lines=lines, stamp='20260131_120000')
    assert read_run(tmp_path).curve('loss') == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]
    write_run(tmp_path, cfg, [dict(loss=3.0, step=9)], stamp='20260131_130000')
    assert read_run(tmp_path).curve('loss') == [(9, 3.0)]


def test_a_part_that_logged_nothing(tmp_path):
    cfg = run_config()
    write_run(tmp_path, cfg, [], stamp='20260131_140000')
    with pytest.raises(ValueError, match='has logged anything yet'):
        read_run(tmp_path)
    write_run(tmp_path, cfg, [dict(loss=1.0, step=1)])
    assert read_run(tmp_path).curve('loss') == [(1, 1.0)]


def test_pictures(tmp_path):
    folder = write_pair(tmp_path)[0]
    for name in ('overlays/seq/1.jpg', 'overlays/notes.txt', 'other/2.png'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert [file.name for file in read_run(folder).pictures] == ['1.jpg']


def test_folders_of_runs(tmp_path):
    folders = list(write_pair(tmp_path / 'all' / 'x'))
    assert find_runs(folders[0]) == folders[:1]
    assert find_runs(tmp_path / 'all' / 'x') == folders
    assert find_runs(tmp_path / 'all') == folders
    with pytest.raises(FileNotFoundError, match='no work folder'):
        find_runs(tmp_path)
    with pytest.raises(FileNotFoundError, match='no folder'):
        find_runs(tmp_path / 'none')


def test_broken_files(tmp_path):
    folder = write_pair(tmp_path)[0]
    scalars = next(folder.glob('*/vis_data/scalars.json'))
    whole = scalars.read_text()
    scalars.write_text(whole + '{"loss": 1.0, "st')
    assert len(read_run(folder).records) == 4
    scalars.write_text('{"loss"\n' + whole)
    with pytest.raises(ValueError, match='line 1 is no JSON'):
        read_run(folder)
    scalars.write_text(whole)
    (folder / 'config.py').unlink()
    with pytest.raises(ValueError, match='has no config.py'):
        read_run(folder)
    (folder / 'config.py').write_text('model = dict(**dict(type="SupOnly"))')
    assert read_run(folder).config['model']['type'] == 'SupOnly'
    for log in folder.glob('*/*.log'):
        log.unlink()
    assert read_run(folder).num_labeled is None
    assert json.loads(whole.splitlines()[0])['step'] == 25
