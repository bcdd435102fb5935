import json

import pytest

from mmsemiseg.start.results import comparison, is_finished, scores, verdict


def write_run(folder, step, networks, checkpoint=None):
    logs = folder / '20260101' / 'vis_data'
    logs.mkdir(parents=True)
    record = {
        f'{n}/{k}': v for n, values in networks.items() for k, v in values.items()
    }
    (logs / 'scalars.json').write_text(json.dumps(dict(record, step=step)) + '\n')
    if checkpoint is not None:
        path = folder / f'iter_{checkpoint}.pth'
        path.write_bytes(b'')
        (folder / 'last_checkpoint').write_text(str(path))
    return folder


def test_finished_runs(tmp_path):
    values = dict(student={'mIoU': 1.0})
    assert is_finished(write_run(tmp_path / 'a', 10, values, 10), 10)
    assert not is_finished(tmp_path / 'a', 11)
    assert not is_finished(write_run(tmp_path / 'b', 5, values, 10), 10)
    assert not is_finished(write_run(tmp_path / 'c', 10, values), 10)
    assert not is_finished(tmp_path / 'none', 1)


def test_table(tmp_path):
    sup = {'mIoU': 40.0, 'IoU.road': 60.0, 'IoU.car': 20.0, 'aAcc': 9.0}
    method = {'mIoU': 45.0, 'IoU.road': 59.5, 'IoU.car': float('nan')}
    runs = {
        'SupOnly': scores(write_run(tmp_path / 'a', 1, dict(student=sup))),
        'MeanTeacher': scores(
            write_run(tmp_path / 'b', 1, dict(student=sup, teacher=method))
        ),
    }
    rows = [
        [cell.strip() for cell in line.split('|')[1:-1]]
        for line in comparison(runs).splitlines()
        if '|' in line
    ]
    assert rows == [
        ['IoU in %', 'SupOnly', 'MeanTeacher student', 'MeanTeacher teacher', 'gain'],
        ['road', '60.0', '60.0', '59.5', '-0.5'],
        ['car', '20.0', '20.0', '', ''],
        ['mIoU', '40.0', '40.0', '45.0', '+5.0'],
    ]


@pytest.mark.parametrize(
    ('reached', 'text'),
    [(45.2, '5.2 mIoU better'), (38, '2.0 mIoU worse'), (40.5, 'no difference worth')],
)
def test_verdict(reached, text):
    said = verdict(40, reached, 'CTT', 12)
    assert text in said
    assert 'on 12 validation images' in said
    assert 'validation images' not in verdict(40, reached, 'CTT', 500)
