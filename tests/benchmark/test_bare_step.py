"""Passes of a full step, recorded and run again."""

from unittest.mock import patch

import pytest
import tiny_run
import torch

from mmsemiseg.benchmark.bare_step import BareStep, recorded_calls
from mmsemiseg.benchmark.generated_run import prepare, run_steps

LABELED = dict(
    network='student', kind='loss', shape=[2, 3, 32, 32], grad=True, mode='train'
)
UNLABELED = dict(
    network='student', kind='forward', shape=[3, 3, 32, 32], grad=True, mode='train'
)
TEACHER = dict(UNLABELED, network='teacher', grad=False, mode='eval')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny_run.write_data(tmp_path_factory.mktemp('data'))


def recorded(data, tmp_path, check, **settings):
    """Call ``check(runner, batches, calls)`` after a recorded step."""
    cfg = tiny_run.config(data, tmp_path / 'run', **settings)
    prepare(cfg, 2)
    seen = []

    def make_step(runner):
        run_iter = runner.train_loop.run_iter

        def step(batches):
            with recorded_calls(runner.model) as calls:
                run_iter(batches)
            seen.append(check(runner, batches, calls))
            runner.train_loop.stop_training = True

        return step

    run_steps(cfg, make_step)
    return seen[0]


def test_the_bare_step_runs_the_recorded_passes(data, tmp_path):
    def check(runner, batches, calls):
        model, wrapper = runner.model, runner.optim_wrapper
        before = {n: p.clone() for n, p in model.named_parameters()}
        rate, count = wrapper.param_groups[0]['lr'], wrapper._inner_count
        grads = {}

        def step():
            assert wrapper.param_groups[0]['lr'] == 0
            grads.update({n: p.grad for n, p in model.named_parameters()})
            type(wrapper).step(wrapper)

        with patch.object(wrapper, 'step', step):
            with recorded_calls(model) as again:
                BareStep(model, wrapper, calls)()
        for one, other in zip(calls, again, strict=True):
            assert torch.equal(one.inputs, other.inputs)
            assert one.data_samples == other.data_samples
            assert one.describe() == other.describe()
            assert one.modes == other.modes
        for name, parameter in model.named_parameters():
            assert torch.equal(before[name], parameter), name
            assert (grads[name] is None) == ('teacher' in name), name
            assert parameter.grad is None
        assert (wrapper.param_groups[0]['lr'], wrapper._inner_count) == (rate, count)
        return calls

    calls = recorded(data, tmp_path, check)
    assert [call.network for call in calls] == ['student', 'teacher', 'student']
    assert len(calls[0].data_samples) == 2


def test_the_gradient_of_the_bare_step(data, tmp_path):
    """d mean(logits) / d bias of the classifier is 1 / classes."""

    def check(runner, batches, calls):
        call = [c for c in calls if c.grad and c.kind == 'forward']
        found = []
        bias = runner.model.student.decode_head.conv_seg.bias
        step = BareStep(runner.model, runner.optim_wrapper, call)
        keep = runner.optim_wrapper.step
        with patch.object(
            runner.optim_wrapper, 'step', lambda: [found.append(bias.grad), keep()]
        ):
            step()
        torch.testing.assert_close(found[0], torch.full((3,), 1 / 3))

    recorded(data, tmp_path, check)


def test_an_accumulation_has_the_passes_of_each_batch(data, tmp_path):
    def check(runner, batches, calls):
        assert len(batches) == 2
        counted = runner.optim_wrapper._inner_count
        BareStep(runner.model, runner.optim_wrapper, calls)()
        assert runner.optim_wrapper._inner_count == counted == 2
        return [call.describe() for call in calls]

    settings = {'train_cfg.accumulation': 2}
    passes = recorded(data, tmp_path, check, **settings)
    assert passes == 2 * [LABELED, TEACHER, UNLABELED]


def test_nothing_is_left_on_the_networks(data, tmp_path):
    def check(runner, batches, calls):
        assert len(calls) == 3
        for network in runner.model.networks.values():
            assert not {'loss', 'extract_feat'} & set(vars(network))

    recorded(data, tmp_path, check)
