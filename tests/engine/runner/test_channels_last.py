"""Runs whose images, weights and moments lie channels_last."""

import cac_run
import cmb_run
import ctt_run
import pytest
import tiny_run
import torch
from mmengine.hooks import Hook
from tiny_run import build, differing, train, weights
from torch.testing import assert_close

from mmsemiseg.engine.checkpoints.run_state import ResumeError
from mmsemiseg.utils.model import unwrap

ITERS = 4  # what starts late has begun in the third
ADAMW = dict(type='AdamW', lr=0.01, weight_decay=0.1)
RUNS = {
    'MeanTeacher': tiny_run,
    'CAC': cac_run,
    'CMB': cmb_run,
    'CTT': ctt_run,
}


@pytest.fixture(autouse=True, scope='module')
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=RUNS)
def make(request, tmp_path):
    """Config of a run of each method, in a folder of this name."""
    module = RUNS[request.param]
    data = module.write_data(tmp_path / 'data')

    def config(name, channels_last=True, optimizer=ADAMW, **settings):
        settings = dict(channels_last=channels_last, **settings)
        cfg = module.config(data, tmp_path / name, max_iters=ITERS, **settings)
        cfg.optim_wrapper.optimizer = optimizer
        cfg.default_hooks.checkpoint.interval = 2
        if request.param == 'CMB':  # device augmentation, some of it with kornia
            pytest.importorskip('kornia')
            for view in ('weak_augment', 'strong_augment'):
                jitter = dict(type='BatchColorJitter', prob=0.5, brightness=0.2)
                blur = dict(type='BatchBlur', prob=0.5, kernel=3)
                cfg.model[view] += [jitter, blur]
        return cfg

    return config


class Layouts(Hook):
    """Of the images that each network was given, and what an iteration logged."""

    def __init__(self):
        self.seen, self.logs = {}, []

    def before_train(self, runner):
        for name, network in unwrap(runner.model).networks.items():
            seen = self.seen[name] = []
            network.backbone.register_forward_pre_hook(
                lambda module, args, seen=seen: seen.append(is_channels_last(args[0]))
            )

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.logs.append({k: v.detach() for k, v in outputs.items() if 'loss' in k})


def is_channels_last(tensor):
    return not tensor.is_contiguous() and tensor.is_contiguous(
        memory_format=torch.channels_last
    )


def all_weights(runner):
    """Teachers' too, which ``parameters()`` of the model leaves out."""
    model = unwrap(runner.model)
    return [p for m in model.modules() for p in m.parameters(recurse=False)]


def moments(runner):
    """(weight, what the optimizer keeps in its shape)"""
    return [
        (weight, value)
        for weight, state in runner.optim_wrapper.optimizer.state.items()
        for value in state.values()
        if isinstance(value, torch.Tensor) and value.shape == weight.shape
    ]


def large(tensor):
    """Kernels that are no 1 x 1: of those both layouts are the same numbers."""
    return tensor.dim() == 4 and tensor.shape[-1] > 1 and tensor.shape[1] > 1


def test_everything_is(make):
    hook = Layouts()
    runner = train(make('run'), hook)
    assert all(len(seen) >= ITERS for seen in hook.seen.values())  # validation too
    assert {x for seen in hook.seen.values() for x in seen} == {True}
    found = [p for p in all_weights(runner) if large(p)]
    assert len(found) >= 7 * len(hook.seen)
    assert all(is_channels_last(weight) for weight in found)
    kept = moments(runner)
    assert len(kept) > 20
    assert all(weight.stride() == value.stride() for weight, value in kept)
    model = unwrap(runner.model)
    heads = getattr(getattr(model, 'contrast', None), 'head_pairs', ())
    for pair in [*model.pairs, *heads]:
        if pair.teacher is not None:  # else _foreach_lerp_ takes them one by one
            strides = [
                [p.stride() for p in network.parameters()]
                for network in (pair.student, pair.teacher)
            ]
            assert strides[0] == strides[1]


def test_values_and_gradients_are_those_of_the_other_layout(make):
    """Without learning the momentum is a sum of the gradients of all iterations."""
    still = dict(type='SGD', lr=0.0, momentum=0.9)
    runs, logs = [], []
    for name, channels_last in (('last', True), ('first', False)):
        hook = Layouts()
        cfg = make(name, channels_last, optimizer=still)
        runs.append(train(cfg, hook))
        logs.append(hook.logs)
        assert {x for seen in hook.seen.values() for x in seen} == {channels_last}
    assert len(logs[0]) == ITERS
    assert_close(logs[0], logs[1], rtol=1e-3, atol=1e-5)
    found, expected = ([value for _, value in moments(run)] for run in runs)
    assert len(found) == len(expected) > 5
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, rtol=1e-2, atol=1e-4, check_stride=False)
    one, other = (all_weights(run) for run in runs)  # drawn by one seed
    assert all(a.equal(b) for a, b in zip(one, other, strict=True))


def test_a_resumed_run_equals_the_uninterrupted_one(make):
    whole = train(make('whole'))

    class Stop(Hook):
        def after_train_iter(self, runner, *args, **kwargs):
            if runner.iter + 1 == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make('run'), Stop())
    hook = Layouts()
    resumed = train(make('run', resume='auto'), hook)
    assert len(hook.logs) == 2
    assert {x for seen in hook.seen.values() for x in seen} == {True}
    assert differing(weights(whole), weights(resumed)) == []
    kept = moments(resumed)
    assert all(weight.stride() == value.stride() for weight, value in kept)
    for (_, one), (_, other) in zip(moments(whole), kept, strict=True):
        assert one.equal(other)


def test_the_other_layout_is_another_run(tmp_path):
    data = tiny_run.write_data(tmp_path / 'data')
    train(tiny_run.config(data, tmp_path / 'run', max_iters=2))
    settings = dict(channels_last=True, resume='auto')
    cfg = tiny_run.config(data, tmp_path / 'run', max_iters=4, **settings)
    with pytest.raises(ResumeError, match='channels_last was False, now True'):
        train(cfg)
    cfg.exact_resume = False
    runner = train(cfg)
    assert runner.iter == 4
    assert all(weight.stride() == value.stride() for weight, value in moments(runner))


def test_a_value_that_is_none(tmp_path):
    data = tiny_run.write_data(tmp_path / 'data')
    cfg = tiny_run.config(data, tmp_path / 'run', channels_last='yes')
    with pytest.raises(ValueError, match="must be True or False, but got 'yes'"):
        build(cfg)
