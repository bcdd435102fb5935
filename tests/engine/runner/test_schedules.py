from types import SimpleNamespace

import pytest
import torch
from helpers import student_cfg
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.registry import MODELS
from tiny_run import config, sup_only, train, write_data
from torch import nn

from mmsemiseg.engine.runner.schedules import (
    describe_schedules,
    describe_starts,
    named_schedulers,
    with_ends,
)

POLY = dict(type='PolyLR', eta_min=0, power=1.0, by_epoch=False)
WARM_UP = dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


class Rates(Hook):
    """Keeps the learning rate of each iteration."""

    priority = 'VERY_HIGH'

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen[runner.iter] = runner.optim_wrapper.param_groups[0]['lr']


def rates(cfg):
    hook = Rates()
    runner = train(cfg, hook)
    return hook.seen, runner


def scheduled(data, work_dir, schedules, max_iters=4, **settings):
    cfg = config(data, work_dir, sup_only(), max_iters=max_iters, **settings)
    cfg.train_dataloader.pop('unlabeled')
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.param_scheduler = schedules
    return cfg


def built(*schedules, max_iters=100):
    param = nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([param], lr=1.0, momentum=0.9))
    return named_schedulers(
        [
            PARAM_SCHEDULERS.build(
                dict(dict(end=max_iters), **one), default_args=dict(optimizer=wrapper)
            )
            for one in schedules
        ]
    )


def described(*schedules, max_iters=100):
    return list(describe_schedules(built(*schedules, max_iters=max_iters), max_iters))


def test_a_longer_run_by_max_iters_alone(data, tmp_path):
    schedules = [dict(WARM_UP, end=2), dict(POLY, begin=2)]
    short, _ = rates(scheduled(data, tmp_path / 'a', schedules, 4))
    longer, _ = rates(scheduled(data, tmp_path / 'b', schedules, 8))
    assert short[2] == longer[2] == pytest.approx(0.1)
    assert short[3] < longer[3] and short[3] == pytest.approx(0.1 * 0)
    # poly from iteration 2 on, 5 steps down to the last one
    expected = [0.1 * (5 - i) / 5 for i in range(6)]
    assert [longer[i] for i in range(2, 8)] == pytest.approx(expected)


@pytest.mark.parametrize(
    'schedules',
    [
        (),
        (POLY,),
        (dict(WARM_UP, end=10), dict(POLY, begin=10)),
        (dict(WARM_UP, end=10),),  # constant after it, on purpose
        (dict(type='ConstantLR', factor=0.1, by_epoch=False, end=10),),
        (dict(POLY, end=40), dict(POLY, begin=40)),
        (dict(type='StepLR', step_size=30, by_epoch=False),),
        (dict(type='MultiStepLR', milestones=[30, 60], by_epoch=False),),
        (dict(type='CosineAnnealingLR', by_epoch=False),),
        (dict(type='CosineAnnealingLR', T_max=100, by_epoch=False),),
        (POLY, dict(type='PolyMomentum', by_epoch=False)),
    ],
)
def test_schedules_that_fit_say_nothing(schedules):
    assert described(*schedules) == []


@pytest.mark.parametrize(
    ('schedule', 'words'),
    [
        (
            dict(POLY, end=40),
            'learning rate stays at its last value (0) for the last 60 iterations: '
            'PolyLR ends at iteration 40, but the run at 100 (train_cfg.max_iters). '
            'Leave out its end, or set param_scheduler.0.end=100',
        ),
        (
            dict(POLY, end=400),
            'learning rate has not come down when the run ends: PolyLR ends at '
            'iteration 400, but the run at 100',
        ),
        (
            dict(WARM_UP, end=150),
            'the warm-up LinearLR ends at iteration 150, but the run at 100: the '
            'learning rate never gets to its full value',
        ),
        (
            dict(type='CosineAnnealingLR', T_max=40, by_epoch=False),
            'rises again for the last 60 iterations',
        ),
        (
            dict(type='MultiStepLR', milestones=[60, 160], by_epoch=False),
            'Set param_scheduler.0.milestones to fit',
        ),
        (dict(POLY, by_epoch=True), 'counts epochs'),
        (dict(type='PolyMomentum', by_epoch=False, end=40), 'the momentum stays'),
        (dict(WARM_UP, start_factor=1, end_factor=0.1, end=40), 'LinearLR ends'),
    ],
)
def test_schedules_that_do_not_fit(schedule, words):
    (text,) = described(schedule)
    assert words in text


def test_of_several_optimizers_each_has_its_own():
    schedules = built(dict(POLY, end=40)).values()
    named = named_schedulers(dict(one=list(schedules), two=[]))
    assert list(named) == ['param_scheduler.one.0']


def test_a_run_says_it_at_its_start(data, tmp_path):
    cfg = scheduled(data, tmp_path / 'run', [dict(POLY, end=2)], 3)
    runner = train(cfg)
    text = (tmp_path / 'run' / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert text.index('PolyLR ends at iteration 2') < text.index("stream 'labeled'")


def test_a_run_that_ends_in_the_warm_up(data, tmp_path):
    schedules = [dict(WARM_UP, end=50), dict(POLY, begin=50)]
    seen, runner = rates(scheduled(data, tmp_path / 'run', schedules, 3))
    assert len(seen) == 3 and max(seen.values()) < 0.02
    never = dict(POLY, begin=50, end=51)
    (text,) = described(dict(WARM_UP, end=50), never, max_iters=3)
    assert 'the warm-up LinearLR ends at iteration 50' in text
    assert runner.param_schedulers[1].begin == 50


def test_ends_are_given_where_mmengine_would_refuse():
    assert with_ends([POLY, dict(POLY, begin=9)], 5) == [
        POLY,
        dict(POLY, begin=9, end=10),
    ]
    assert with_ends(dict(a=POLY), 5) == dict(a=POLY)
    assert with_ends(dict(POLY, begin=9, end=20), 5)['end'] == 20


@pytest.mark.parametrize('stop', [2, 4])
def test_a_resumed_run_that_goes_on_for_longer(stop, data, tmp_path):
    """Its values are those that a run of the new length has."""
    schedules = [dict(WARM_UP, end=2), dict(POLY, begin=2)]
    whole, _ = rates(scheduled(data, tmp_path / 'whole', schedules, 8))
    cfg = scheduled(data, tmp_path / 'run', schedules, 4)
    cfg.default_hooks.checkpoint.interval = stop
    train(cfg)
    checkpoint = str(tmp_path / f'run/iter_{stop}.pth')
    cfg = scheduled(data, tmp_path / 'run', schedules, 8)
    cfg.merge_from_dict(dict(resume=True, load_from=checkpoint))
    seen, runner = rates(cfg)
    assert list(seen) == list(range(stop, 8))
    assert seen == {i: pytest.approx(whole[i]) for i in seen}
    text = (tmp_path / 'run' / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert 'param_scheduler.1.end from 4 to 8' in text


def test_a_resumed_run_of_the_same_length_keeps_what_was_saved(data, tmp_path):
    cfg = scheduled(data, tmp_path / 'run', [POLY], 4)
    cfg.default_hooks.checkpoint.interval = 2
    expected = train(cfg).param_schedulers[0].state_dict()
    cfg = scheduled(data, tmp_path / 'run', [POLY], 4)
    cfg.merge_from_dict(dict(resume=True, load_from=str(tmp_path / 'run/iter_2.pth')))
    runner = train(cfg)
    assert runner.param_schedulers[0].state_dict() == expected
    text = (tmp_path / 'run' / runner.timestamp / f'{runner.timestamp}.log').read_text()
    assert 'length of schedules' not in text


def starts(max_iters, **settings):
    model = MODELS.build(dict(student=student_cfg(), **settings))
    return list(describe_starts(SimpleNamespace(model=model), max_iters))


def test_what_begins_after_the_end():
    assert starts(3000, type='CMB') == []
    late, rising = starts(1500, type='CMB')
    assert 'model.mix_start=2000, model.contrast.start=2000 will not be reached' in late
    assert 'model.pseudo_loss.ramp_up.length=2000 is beyond the 1500 iter' in rising
    late, _ = starts(900, type='CMB')
    assert 'model.contrast.candidates.start=1000' in late
    no_ramp = dict(ramp_up=None)
    (late,) = starts(1500, type='CMB', contrast=None, pseudo_loss=no_ramp)
    assert 'contrast' not in late and 'bank' not in late
    contrast = dict(start=9)
    (late,) = starts(9, type='CAC', contrast=contrast)
    assert 'model.contrast.start=9' in late
    assert starts(10, type='CAC', contrast=contrast) == []
    loss = dict(ramp_up=dict(length=11))
    (rising,) = starts(10, type='MeanTeacher', pseudo_loss=loss)
    assert 'model.pseudo_loss.ramp_up.length=11' in rising
    loss = dict(ramp_up=dict(length=11, kind=None))
    assert starts(10, type='MeanTeacher', pseudo_loss=loss) == []
