import math

import pytest
from run_files import records_of, run_config, write_run

from mmsemiseg.reporting import read_run, rows_of, worth_of
from mmsemiseg.reporting.worth import baseline_of, more_labels, unlike


@pytest.fixture
def make(tmp_path):
    """``make(method, mIoU, labels)``: a run."""

    def made(method, score, labels=16, seed=0, end=100, **settings):
        name = f'{method}{labels}-{seed}-{score}-{end}'
        cfg = run_config(method, seed, **settings)
        records = records_of((score, score), end)
        return read_run(write_run(tmp_path / name, cfg, records, labels))

    return made


def test_gain_and_labels(make):
    runs = [make('MeanTeacher', 25.0), make('SupOnly', 20.0)]
    rows = rows_of(runs)
    found = worth_of(rows[0], rows)
    assert (found.gain, found.more_labels, found.chance) == (5, None, 1)
    rows = rows_of([*runs, make('SupOnly', 30.0, labels=64)])
    found = worth_of(rows[0], rows)
    assert (found.more_labels, found.between) == (16, (16, 64))  # half way in the log
    rows = rows_of([*runs, make('SupOnly', 24.0, labels=64)])
    assert math.isinf(worth_of(rows[0], rows).more_labels)


def test_no_baseline_of_as_many_labels(make):
    rows = rows_of([make('MeanTeacher', 25.0), make('SupOnly', 30.0, labels=64)])
    assert worth_of(rows[0], rows) is None
    assert baseline_of(rows[0], rows) is None


def test_seeds_are_one_row(make):
    scores = dict(MeanTeacher=(30.0, 34.0), SupOnly=(20.0, 22.0))
    runs = [
        make(method, score, seed=seed)
        for method, values in scores.items()
        for seed, score in enumerate(values)
    ]
    rows = rows_of(runs)
    assert [len(row.runs) for row in rows] == [2, 2]
    found = worth_of(rows[0], rows)
    assert found.gain == 11
    # twice the root of (8 / 2 + 2 / 2), variances over numbers of runs
    assert found.chance == pytest.approx(2 * math.sqrt(5))


def test_a_curve_that_falls_in_between():
    curve = [(10, 20.0), (20, 15.0), (40, 30.0)]
    more, between = more_labels(10, 25.0, curve)
    assert between == (20, 40) and 10 < more < 30
    assert more_labels(10, 25.0, [(20, 30.0), (40, 40.0)]) == (None, None)


def test_what_makes_a_comparison_doubtful(make):
    one = make('MeanTeacher', 25.0)
    assert unlike(*rows_of([one, make('SupOnly', 20.0)])) == []
    stopped = make('SupOnly', 20.0, end=60)
    assert 'stopped after 60' in unlike(*rows_of([one, stopped]))[0]
    short = make('SupOnly', 20.0, end=48, max_iters=48)
    assert unlike(*rows_of([one, short])) == ['100 iterations against 48']
    other = make(
        'SupOnly',
        21.0,
        model=dict(type='SupOnly', student=dict(type='B')),
        val_dataloader=dict(dataset=dict(data_root='other')),
        train_dataloader=dict(labeled=dict(dataset=dict(data_root='mine'))),
    )
    assert len(unlike(*rows_of([one, other]))) == 3
