import pytest
import torch
from distributed_run import FakeRunner, parts
from helpers import build, frozen_copy, student_cfg
from torch import nn

from mmsemiseg.engine.hooks import BatchNormSyncHook, MeanTeacherHook
from mmsemiseg.engine.hooks.batch_norm_sync import running_statistics
from mmsemiseg.models.heads import ClassAttention, MaskedBatchNorm

FROZEN = 'decode_head.convs.0.bn.running_mean'
SYNCHRONOUS = 'backbone.layer1.0.bn1.running_mean'


@pytest.fixture(scope='module')
def ranks():
    """[(before, after) of rank 0, of rank 1]"""
    return parts()['statistics']


def test_mean_over_the_processes(ranks):
    (before, after), (others_before, others_after) = ranks
    averaged = [k for k in before if 'running' in k and not before[k].equal(after[k])]
    assert len(averaged) >= 20
    for key in averaged:
        mean = (before[key] + others_before[key]) / 2
        torch.testing.assert_close(after[key], mean)
        assert after[key].equal(others_after[key])


def test_everything_else_is_left_alone(ranks):
    for rank, (before, after) in enumerate(ranks):
        still = [key for key in before if before[key].equal(after[key])]
        assert {'counter', 'queue', FROZEN, SYNCHRONOUS} <= set(still)
        others = {key for key in before if 'running' not in key}
        assert others <= set(still)
        assert after['counter'] == rank
        assert (after['queue'] == rank).all()
    differ = [
        key for key in ranks[0][1] if not ranks[0][1][key].equal(ranks[1][1][key])
    ]
    assert set(differ) == {'counter', 'queue', FROZEN, SYNCHRONOUS}


def test_which_statistics():
    model = nn.Sequential(
        nn.BatchNorm2d(2),
        nn.BatchNorm1d(3),
        nn.BatchNorm2d(4).eval(),
        nn.BatchNorm2d(5, track_running_stats=False),
        nn.SyncBatchNorm(6),
        nn.InstanceNorm2d(7, track_running_stats=True),
        nn.GroupNorm(2, 8),
        MaskedBatchNorm(9),
        ClassAttention(2, 3, 4),
    )
    found = running_statistics(model)
    assert [len(values) for values in found] == [2, 3, 7, 9, 2] * 2
    assert found[0] is model[0].running_mean
    assert found[5] is model[0].running_var
    assert running_statistics(nn.Linear(2, 2)) == []


def test_one_process_has_nothing_to_do():
    model = build(student_cfg()).train()
    before = frozen_copy(model)
    BatchNormSyncHook().after_train_iter(FakeRunner(model), 0)
    assert all(before[key].equal(value) for key, value in model.state_dict().items())


def test_before_teachers_move():
    order = ['HIGHEST', 'VERY_HIGH', 'HIGH', 'ABOVE_NORMAL', 'NORMAL']
    sync, teacher = BatchNormSyncHook.priority, MeanTeacherHook.priority
    assert order.index(sync) < order.index(teacher)
