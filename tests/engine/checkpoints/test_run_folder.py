import os

import pytest
import torch
from checkpoint_files import good

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.engine.checkpoints.run_folder import describe_way_on, find_resumable


def write_run(folder, steps=(1, 2, 3), last=None):
    """Checkpoints, the later the newer; 'last_checkpoint' names ``last``."""
    folder.mkdir(parents=True, exist_ok=True)
    for step in steps:
        path = folder / f'iter_{step}.pth'
        torch.save(good(step), path)
        os.utime(path, (1000 + step, 1000 + step))
    if last is not None:
        (folder / 'last_checkpoint').write_text(last)
    return folder


def cut(path):
    time = path.stat().st_mtime
    path.write_bytes(path.read_bytes()[:-300])
    os.utime(path, (time, time))


def test_last_checkpoint_comes_first(tmp_path):
    run = write_run(tmp_path / 'run', last=str(tmp_path / 'run/iter_2.pth'))
    assert find_resumable(run) == (str(run / 'iter_2.pth'), [])


def test_last_checkpoint_may_lie_elsewhere(tmp_path):
    out = write_run(tmp_path / 'out')
    run = write_run(tmp_path / 'run', steps=(), last=f'{out / "iter_3.pth"}\n')
    assert find_resumable(str(run)) == (str(out / 'iter_3.pth'), [])


def test_moved_folder(tmp_path):
    run = write_run(tmp_path / 'run', last=str(tmp_path / 'run/iter_2.pth'))
    moved = run.rename(tmp_path / 'moved')
    assert find_resumable(moved) == (str(moved / 'iter_2.pth'), [])


@pytest.mark.parametrize('text', [None, '', '\n', '\0\0\0'])
def test_no_last_checkpoint(text, tmp_path):
    run = write_run(tmp_path / 'run', last=text)
    assert find_resumable(run) == (str(run / 'iter_3.pth'), [])


@pytest.mark.parametrize('text', ['/nowhere/iter_9.pth', '\x93\x00garbage', 'x' * 5000])
def test_last_checkpoint_is_gone(text, tmp_path):
    run = write_run(tmp_path / 'run', last=text)
    path, (error,) = find_resumable(run)
    assert path == str(run / 'iter_3.pth')
    assert 'does not exist' in str(error)
    assert str(run) in str(error)


def test_truncated_ones_are_passed_over(tmp_path):
    run = write_run(tmp_path / 'run', last=str(tmp_path / 'run/iter_3.pth'))
    cut(run / 'iter_3.pth')
    (run / 'iter_2.pth').write_bytes(b'')
    os.utime(run / 'iter_2.pth', (1002, 1002))
    path, refused = find_resumable(run)
    assert path == str(run / 'iter_1.pth')
    assert [type(error) for error in refused] == [CheckpointError] * 2
    assert 'iter_3.pth is damaged or incomplete' in str(refused[0])
    assert 'iter_2.pth is empty' in str(refused[1])


def test_newest_is_by_time_then_number(tmp_path):
    run = write_run(tmp_path / 'run', steps=(9, 10, 100))
    os.utime(run / 'iter_9.pth', (5000, 5000))
    assert find_resumable(run) == (str(run / 'iter_9.pth'), [])
    for path in run.iterdir():
        os.utime(path, (5000, 5000))
    assert find_resumable(run) == (str(run / 'iter_100.pth'), [])


def test_best_and_parts_are_not_taken(tmp_path):
    run = write_run(tmp_path / 'run', steps=(1,))
    for name in ('best_mIoU_iter_2.pth', 'iter_3.pth.part', 'iter_4.pt'):
        torch.save(good(2), run / name)
    assert find_resumable(run) == (str(run / 'iter_1.pth'), [])
    (run / 'iter_1.pth').unlink()
    assert find_resumable(run) == (None, [])


def test_weights_alone_are_refused(tmp_path):
    run = write_run(tmp_path / 'run', steps=(1,))
    torch.save(dict(state_dict=good()['state_dict']), run / 'student.pth')
    path, (error,) = find_resumable(run)
    assert path == str(run / 'iter_1.pth')
    assert 'student.pth cannot be resumed: it has no meta, optimizer' in str(error)


def test_nothing_to_resume_from(tmp_path):
    assert find_resumable(tmp_path / 'missing') == (None, [])
    assert find_resumable(tmp_path) == (None, [])
    run = write_run(tmp_path / 'run', steps=(1,), last='/nowhere/iter_1.pth')
    cut(run / 'iter_1.pth')
    path, refused = find_resumable(run)
    assert path is None
    assert len(refused) == 1, 'one file, named by last_checkpoint and found'


BROKEN = torch.tensor([1.0, float('nan')])


def test_broken_numbers_are_passed_over(tmp_path):
    """Files of an earlier version hold them, too."""
    run = write_run(tmp_path / 'run', last=str(tmp_path / 'run/iter_3.pth'))
    torch.save(good(3, state_dict=dict(w=BROKEN)), run / 'iter_3.pth')
    moments = dict(state={0: dict(exp_avg=BROKEN)}, param_groups=[])
    torch.save(good(2, optimizer=moments), run / 'iter_2.pth')
    os.utime(run / 'iter_2.pth', (1002, 1002))
    path, refused = find_resumable(run)
    assert path == str(run / 'iter_1.pth')
    assert 'iter_3.pth cannot be resumed: w is not finite' in str(refused[0])
    assert 'optimizer.state.0.exp_avg is not finite' in str(refused[1])
    assert describe_way_on(run).startswith(f'Go on from {path} (--resume) with a sm')


def test_nothing_to_go_on_from(tmp_path):
    text = 'There is no checkpoint of this run yet: start again with a smaller'
    assert describe_way_on(tmp_path).startswith(text)
    torch.save(good(state_dict=dict(w=BROKEN)), tmp_path / 'iter_1.pth')
    text = f'None of the 1 checkpoints in {tmp_path} is whole and finite: start again'
    assert describe_way_on(tmp_path).startswith(text)
