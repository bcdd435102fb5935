import json

import pytest

from mmsemiseg.utils.logs import last_metrics, read_scalars


def write(folder, stamp, records):
    path = folder / stamp / 'vis_data'
    path.mkdir(parents=True)
    lines = [json.dumps(record) for record in records]
    (path / 'scalars.json').write_text('\n'.join(lines) + '\n')


def test_the_newest_run_and_its_last_validation(tmp_path):
    write(tmp_path, '20260101_000000', [{'student/mIoU': 1.0, 'step': 9}])
    records = [
        {'loss': 2.0, 'step': 5},
        {'student/mIoU': 3.0, 'step': 5},
        {'student/mIoU': 4.0, 'step': 10},
        {'gap': 0.5, 'step': 10},
    ]
    write(tmp_path, '20260102_000000', records)
    assert read_scalars(tmp_path) == records
    assert last_metrics(tmp_path) == {'student/mIoU': 4.0, 'step': 10}


def test_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match='scalars.json'):
        read_scalars(tmp_path)


def test_a_run_without_validation(tmp_path):
    write(tmp_path, '20260101_000000', [{'loss': 2.0, 'step': 5}])
    with pytest.raises(ValueError, match='mIoU'):
        last_metrics(tmp_path)
