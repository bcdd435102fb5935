import json

import pytest


def write_run(folder, seed, curve, network='student'):
    path = folder / f'seed{seed}' / '20260101_000000' / 'vis_data'
    path.mkdir(parents=True)
    lines = [json.dumps({'loss': 1.0, 'step': 1})]
    for step, score in curve.items():
        record = {f'{network}/mIoU': score, f'{network}/IoU.car': 2 * score}
        lines.append(json.dumps(record | {'step': step}))
    (path / 'scalars.json').write_text('\n'.join(lines))


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/compare_runs')


def test_table_of_two_runs(tool, tmp_path, capsys):
    for seed, last in enumerate((20.0, 22.0)):
        write_run(tmp_path / 'a', seed, {5: 10.0, 10: last})
    for seed, last in enumerate((25.0, 29.0)):
        write_run(tmp_path / 'b', seed, {10: last}, 'teacher')
    runs = [f'A={tmp_path / "a"}', f'B={tmp_path / "b"}:teacher']
    assert tool.main([*runs, '--classes', '--plot', str(tmp_path / 'c.png')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '|  | 5 | 10 | seeds | gain |'
    assert lines[2] == '| A | 10.0 ± 0.0 | 21.0 ± 1.4 | 20.0, 22.0 |  |'
    assert lines[3] == '| B |  | 27.0 ± 2.8 | 25.0, 29.0 | +6.0 ± 1.4 |'
    assert '| car | 42.0 ± 2.8 | 54.0 ± 5.7 |' in lines
    assert (tmp_path / 'c.png').stat().st_size > 1000


def test_gain_is_paired_by_the_seeds_that_both_have(tool, tmp_path, capsys):
    write_run(tmp_path / 'a', 0, {10: 20.0})
    write_run(tmp_path / 'a', 1, {10: 30.0})
    write_run(tmp_path / 'b', 1, {10: 33.0})
    tool.main([f'A={tmp_path / "a"}', f'B={tmp_path / "b"}'])
    assert '| 33.0 | +3.0 |' in capsys.readouterr().out


def test_a_run_with_a_seed_that_has_not_ended_yet(tool, tmp_path, capsys):
    write_run(tmp_path / 'a', 0, {5: 10.0, 10: 20.0})
    write_run(tmp_path / 'a', 1, {5: 30.0})
    picture = tmp_path / 'c.png'
    tool.main([f'A={tmp_path / "a"}', '--classes', '--plot', str(picture)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'NOTE: A: seeds end at 0: 10, 1: 5; compared at 5'
    assert '| A | 20.0 ± 14.1 |  | 10.0, 30.0 |  |' in lines
    assert '| car | 40.0 ± 28.3 |' in lines
    assert picture.is_file()


def test_seeds_that_were_never_validated_at_one_iteration(tool, tmp_path):
    write_run(tmp_path / 'a', 0, {10: 20.0})
    write_run(tmp_path / 'a', 1, {5: 30.0})
    with pytest.raises(ValueError, match='A: no iteration at which all its seeds'):
        tool.main([f'A={tmp_path / "a"}'])


@pytest.mark.parametrize('text', ['no-equals-sign', 'A='])
def test_a_run_that_cannot_be_read(tool, text):
    with pytest.raises(ValueError, match='NAME=FOLDER'):
        tool.main([text])


def test_a_folder_without_runs(tool, tmp_path):
    with pytest.raises(ValueError, match='holds no seed'):
        tool.main([f'A={tmp_path}'])


def test_a_network_that_was_not_validated(tool, tmp_path):
    write_run(tmp_path, 0, {10: 20.0}, 'student0')
    message = r"holds no seed.* with student/mIoU, but mIoU of \['student0'\]"
    with pytest.raises(ValueError, match=message):
        tool.main([f'A={tmp_path}'])
    assert tool.main([f'A={tmp_path}:student0']) == 0
