import math

import pytest
import torch
from mmengine.hooks import Hook
from mmseg.registry import MODELS
from tiny_run import config, differing, mean_teacher, tiny_student, train, write_data

from mmsemiseg.engine.hooks import MeanTeacherHook


class Record(Hook):
    """Student and teacher at the start and after each iteration."""

    priority = 'LOW'

    def before_train(self, runner):
        self.states = [states(runner)]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.states.append(states(runner))


def states(runner):
    model = runner.model
    return [
        {key: value.clone() for key, value in network.state_dict().items()}
        for network in (model.student, model.teacher)
    ]


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def recorded(cfg):
    record = Record()
    runner = train(cfg, record)
    return record.states, runner


def follow(history, decays):
    """Slow reference: parameters by EMA in float64, buffers copied; None: no step."""
    teacher = {key: value.double() for key, value in history[0][0].items()}
    for (student, _), decay in zip(history[1:], decays, strict=True):
        if decay is None:
            continue
        for key, value in student.items():
            d = 0 if 'running' in key or 'num_batches' in key else decay
            teacher[key] = d * teacher[key] + (1 - d) * value.double()
    return teacher


def assert_follows(history, decays):
    teacher = history[-1][1]
    for key, value in follow(history, decays).items():
        torch.testing.assert_close(teacher[key].double(), value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ('settings', 'decays'),
    [
        (dict(decay=0.7, warmup=None), [0.7] * 5),
        (dict(decay=0.7, warmup='1/(t+1)'), [0, 1 / 2, 2 / 3, 0.7, 0.7]),
        (dict(decay=0.95, warmup='1/(10t+1)'), [0, 10 / 11, 0.95, 0.95, 0.95]),
        (
            dict(decay=0.7, warmup=None, anneal='cosine'),
            [1 - 0.3 * (math.cos(math.pi * t / 5) + 1) / 2 for t in range(5)],
        ),
    ],
)
def test_schedule_of_a_run(settings, decays, data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=5)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', **settings)]
    history, runner = recorded(cfg)
    assert_follows(history, decays)
    assert runner.model.pairs[0].steps == 5
    assert differing(*history[-1])  # the two are not one


def test_accumulation_moves_the_teacher_once_per_step(data, tmp_path):
    cfg = config(data, tmp_path / 'run', max_iters=3)
    cfg.train_cfg.accumulation = 2
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', decay=0.7, warmup=None, anneal='cosine')
    ]
    history, runner = recorded(cfg)
    assert_follows(
        history, [1 - 0.3 * (math.cos(math.pi * t / 3) + 1) / 2 for t in range(3)]
    )
    assert runner.model.pairs[0].steps == 3


def test_teacher_starts_as_a_copy(data, tmp_path):
    history, _ = recorded(config(data, tmp_path / 'run', max_iters=1))
    assert differing(*history[0]) == []


def noise(state):
    return {
        key: value + torch.rand(value.shape).to(value) for key, value in state.items()
    }


def test_teacher_is_a_copy_of_a_loaded_plain_checkpoint(data, tmp_path):
    plain = MODELS.build(tiny_student())
    torch.save(dict(state_dict=noise(plain.state_dict())), tmp_path / 'plain.pth')
    cfg = config(data, tmp_path / 'run', max_iters=1)
    cfg.load_from = str(tmp_path / 'plain.pth')
    history, _ = recorded(cfg)
    assert differing(*history[0]) == []
    loaded = torch.load(cfg.load_from)['state_dict']
    loaded = {key: value for key, value in loaded.items() if key in history[0][0]}
    assert differing(history[0][0], loaded) == []


def test_fresh_run_from_a_trained_teacher_starts_again(data, tmp_path):
    train(config(data, tmp_path / 'first', max_iters=3))
    cfg = config(data, tmp_path / 'second', max_iters=1)
    cfg.load_from = str(tmp_path / 'first/iter_3.pth')
    history, runner = recorded(cfg)
    assert differing(*history[0]) == []
    assert runner.model.pairs[0].steps == 1


@pytest.mark.parametrize('accumulation', [1, 8])
def test_resumed_run_does_not_copy_again(accumulation, data, tmp_path):
    train(config(data, tmp_path / 'run', max_iters=2))
    checkpoint = tmp_path / 'run/iter_2.pth'
    if accumulation > 1:  # no update before the checkpoint
        saved = torch.load(checkpoint, weights_only=False)
        saved['state_dict']['pairs.0.steps'].zero_()
        torch.save(saved, checkpoint)
    cfg = config(data, tmp_path / 'run', max_iters=3, resume=True)
    history, runner = recorded(cfg)
    saved = torch.load(checkpoint, weights_only=False)['state_dict']
    prefix = 'pairs.0.teacher.'
    teacher = {k.removeprefix(prefix): v for k, v in saved.items() if prefix in k}
    assert differing(history[0][1], teacher) == []
    assert differing(*history[0])
    assert runner.model.pairs[0].steps == (3 if accumulation == 1 else 1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(decay=1.1), r'decay must be in \[0, 1\], but got 1.1'),
        (dict(decay='a'), r"^MeanTeacherHook: decay must be in \[0, 1\], but got 'a'"),
        (dict(warmup='1/t'), "warmup must be .* but got '1/t'"),
        (dict(anneal='linear'), "anneal must be .* but got 'linear'"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        MeanTeacherHook(**settings)


def test_averaged_statistics(data, tmp_path):
    model = mean_teacher(teacher=dict(buffers='average'))
    cfg = config(data, tmp_path / 'run', model, max_iters=2)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.5, warmup=None)]
    history, _ = recorded(cfg)
    key = 'backbone.stem.1.running_mean'
    (start, _), (first, _), (second, teacher) = history
    expected = start[key] / 4 + first[key] / 4 + second[key] / 2
    torch.testing.assert_close(teacher[key], expected)
