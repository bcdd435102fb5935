import pytest
import torch
from distributed_run import parts

from mmsemiseg.utils.gather import copy_from_first, gather_rows, gather_rows_to_first


@pytest.fixture(scope='module')
def ranks():
    return parts()['gathered']


def test_one_process():
    rows = torch.ones(2, 3)
    assert gather_rows(rows) is rows
    assert gather_rows(rows[:0]).shape == (0, 3)


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        ((2, 2), [[0, 1], [2, 3], [100, 101], [102, 103]]),
        ((1, 3), [[0, 1], [100, 101], [102, 103], [104, 105]]),
        ((0, 2), [[100, 101], [102, 103]]),
        ((2, 0), [[0, 1], [2, 3]]),
    ],
)
def test_order_of_the_ranks(ranks, counts, expected):
    for rank in ranks:
        assert rank[counts].tolist() == expected
        assert rank[counts].dtype == torch.int64


def test_no_rows_at_all(ranks):
    assert [rank[0, 0].shape for rank in ranks] == [(0, 2), (0, 2)]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.float16])
def test_floats(ranks, dtype):
    for rank in ranks:
        assert rank[dtype].dtype == dtype
        assert rank[dtype].tolist() == [[1], [3], [5], [11], [13], [15]]


def test_bytes_and_truth_values(ranks):
    for rank in ranks:
        assert rank[torch.uint8].tolist() == [[1], [3], [5], [11], [13], [15]]
        assert rank[torch.uint8].dtype == torch.uint8
        assert rank[torch.bool].tolist() == [[True]] * 6
        assert rank[torch.bool].dtype == torch.bool


def test_any_shape_of_a_row(ranks):
    for rank in ranks:
        assert rank['no columns'].tolist() == [0, 0, 1]
        assert rank['large'].equal(torch.full((1, 3, 2, 2), 0.5))


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        ((2, 2), [[0, 1], [2, 3], [100, 101], [102, 103]]),
        ((0, 2), [[100, 101], [102, 103]]),
        ((2, 0), [[0, 1], [2, 3]]),
        ((0, 0), []),
    ],
)
def test_the_first_process_alone_gets_the_rows(ranks, counts, expected):
    first, second = (rank[('first', *counts)] for rank in ranks)
    assert first.tolist() == expected
    assert second.shape == (0, 2)
    assert first.dtype == second.dtype == torch.float16


def test_values_of_the_first_process(ranks):
    for rank in ranks:
        values, truth = rank['copied']
        assert values.tolist() == [0, 0]
        assert truth.tolist() == [True, True]
        assert truth.dtype == torch.bool


def test_one_process_keeps_its_own():
    rows = torch.ones(2, 3)
    assert gather_rows_to_first(rows) is rows
    copy_from_first(rows)
    assert rows.eq(1).all()
