from types import SimpleNamespace

import pytest
import torch
from distributed_run import FakeRunner, Memory, parts
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmseg.registry import HOOKS, MODELS, OPTIM_WRAPPERS
from tiny_run import build, config, mean_teacher, sup_only, train, write_data

from mmsemiseg.engine.hooks import MemoryHook
from mmsemiseg.models import MeanTeacher


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@MODELS.register_module(force=True)
class Remembering(MeanTeacher):
    """Leaves one row a labeled image: (iteration, number)."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.calls = []

    def step(self, streams):
        numbers = range(len(streams.labeled.inputs))
        rows = torch.tensor([[self.iteration, i] for i in numbers])
        self.step_outputs['memory'] = dict(rows=rows)
        return super().step(streams)

    def update_memory(self, rows):
        self.calls.append(rows.tolist())


@MODELS.register_module(force=True)
class Bank(Remembering):
    has_memory = True


@HOOKS.register_module(force=True)
class OwnMemoryHook(MemoryHook):
    """Counts as a MemoryHook."""


@OPTIM_WRAPPERS.register_module(force=True)
class SkippingOptimWrapper(OptimWrapper):
    """Skips every second step."""

    def step(self, **kwargs):
        if self._inner_count % 2:
            super().step(**kwargs)


def remembering(data, work_dir, **settings):
    model = dict(mean_teacher(), type='Remembering')
    cfg = config(data, work_dir, model, **settings)
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', decay=0.9),
        dict(type='MemoryHook'),
    ]
    return cfg


def test_rows_of_each_step(data, tmp_path):
    model = train(remembering(data, tmp_path / 'run', max_iters=2)).model
    assert model.calls == [[[0, 0], [0, 1]], [[1, 0], [1, 1]]]


@pytest.mark.parametrize(
    ('model', 'hooks', 'expected'),
    [
        ('Remembering', [], []),
        ('Bank', [], [(MemoryHook, 10000)]),
        ('Bank', [dict(type='MemoryHook', warn_after=7)], [(MemoryHook, 7)]),
        ('Bank', [dict(type='OwnMemoryHook')], [(OwnMemoryHook, 10000)]),
    ],
)
def test_the_runner_adds_a_hook_where_there_is_none(
    model, hooks, expected, data, tmp_path
):
    cfg = remembering(data, tmp_path / 'run')
    cfg.model.type = model
    cfg.custom_hooks[1:] = hooks
    found = [hook for hook in build(cfg).hooks if isinstance(hook, MemoryHook)]
    assert [(type(hook), hook.warn_after) for hook in found] == expected


def test_the_hook_of_the_runner_fills_the_bank(data, tmp_path):
    cfg = remembering(data, tmp_path / 'run', max_iters=2)
    cfg.model.type = 'Bank'
    cfg.custom_hooks.pop()
    assert train(cfg).model.calls == [[[0, 0], [0, 1]], [[1, 0], [1, 1]]]


def test_rows_of_all_batches_of_a_step(data, tmp_path):
    cfg = remembering(data, tmp_path / 'run', max_iters=2)
    cfg.train_cfg.accumulation = 2
    cfg.train_dataloader.labeled.batch_size = 1
    model = train(cfg).model
    assert model.calls == [[[0, 0], [0, 0]], [[1, 0], [1, 0]]]


def test_a_skipped_step_enters_nothing(data, tmp_path):
    cfg = remembering(data, tmp_path / 'run', max_iters=4)
    cfg.optim_wrapper.type = 'SkippingOptimWrapper'
    model = train(cfg).model
    assert [rows[0][0] for rows in model.calls] == [0, 2]
    assert model.pairs[0].steps == 2


def after_step(left):
    model = Memory()
    model.rows = None
    MemoryHook().after_step(FakeRunner(model, left))
    return model.rows


def test_a_batch_may_leave_nothing():
    assert after_step([{}]) is None
    assert after_step([{}, dict(pseudo=1)]) is None
    keys = torch.ones(2, 3)
    rows = after_step([{}, dict(memory=dict(keys=keys)), {}])
    assert rows['keys'].equal(keys)


def test_no_rows_are_rows():
    rows = after_step([dict(memory=dict(keys=torch.ones(0, 3)))])
    assert rows['keys'].shape == (0, 3)


def test_without_a_loop_that_collects():
    model = Memory()
    model.step_outputs = dict(memory=dict(keys=torch.ones(1, 2)))
    MemoryHook().after_step(FakeRunner(model))
    assert model.rows['keys'].tolist() == [[1, 1]]


def test_rows_of_both_processes():
    """Rank 0 has 0 + 2 rows, rank 1 has 1 + 2."""
    for rows in parts()['remembered']:
        assert rows['keys'].tolist() == [[10, 10]] * 2 + [[1, 1]] + [[11, 11]] * 2
        assert rows['labels'].tolist() == [10, 10, 1, 11, 11]


def test_a_process_that_leaves_out_the_names():
    for error in parts()['one_remembers']:
        assert error.startswith("step_outputs['memory'] must have the same names")
        assert error.endswith('[1, 0]')


# Fill


class Filling:
    """A model with banks of these rows."""

    def __init__(self, *banks):
        self.banks = banks

    def bank_fill(self):
        return [torch.tensor(bank) for bank in self.banks]


@pytest.mark.parametrize(
    ('banks', 'expected'),
    [
        ([], {}),
        ([[0.5, 0.25]], dict(bank_fill=0.375, bank_least=0.25)),
        ([[0.5]], dict(bank_fill=0.5)),
        (
            [[1.0, 0.5], [0.25]],
            dict(bank_fill0=0.75, bank_least0=0.5, bank_fill1=0.25),
        ),
    ],
)
def test_fill_is_written_at_the_interval(banks, expected):
    hub = MessageHub.get_instance(f'test_memory_{len(banks)}_{len(expected)}')
    runner = SimpleNamespace(
        model=Filling(*banks), iter=0, max_iters=9, message_hub=hub
    )
    hook = MemoryHook(warn_after=None, interval=2)
    hook._stepped = False
    for iteration in range(2):
        assert not hub.log_scalars
        runner.iter = iteration
        hook.after_train_iter(runner, iteration)
    found = {key: value.current() for key, value in hub.log_scalars.items()}
    assert found == {f'train/{key}': value for key, value in expected.items()}


def test_a_model_that_tells_no_fill(data, tmp_path):
    cfg = remembering(data, tmp_path / 'run', max_iters=1)
    cfg.custom_hooks[1].interval = 1
    scalars = train(cfg).message_hub.log_scalars
    assert not any('bank' in key for key in scalars)


# Classes with too few rows


class Unready(Remembering):
    """At every step all classes but the first lack rows."""

    def unready_classes(self):
        self.asked_after = len(self.calls)
        return [1, 2]


MODELS.register_module(name='Unready', module=Unready, force=True)


def warnings_of(cfg, capsys):
    model = train(cfg).model
    lines = capsys.readouterr().out.splitlines()
    return model, [line for line in lines if 'too few rows' in line]


@pytest.mark.parametrize(('after', 'told_after'), [(2, 2), (3, 3), (4, 3), (None, 0)])
def test_classes_with_too_few_rows_are_named_once(
    data, tmp_path, capsys, after, told_after
):
    """At the half of the run at the latest."""
    cfg = remembering(data, tmp_path / 'run', max_iters=6)
    cfg.model.type = 'Unready'
    cfg.custom_hooks[1].warn_after = after
    model, told = warnings_of(cfg, capsys)
    assert len(told) == (1 if told_after else 0)
    if told:
        assert f'after {told_after} iterations the memory of Unready' in told[0]
        assert "of the classes 'b' (1), 'c' (2);" in told[0]
        assert model.asked_after == told_after


def test_no_warning_without_such_classes(data, tmp_path, capsys):
    for index, kind in enumerate(('Remembering', 'Unready')):
        cfg = remembering(data, tmp_path / f'run{index}', max_iters=1)
        cfg.model.type = kind
        cfg.custom_hooks[1].warn_after = 1
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Unready, 'unready_classes', lambda self: [])
            assert warnings_of(cfg, capsys)[1] == []


@pytest.mark.parametrize('name', ['warn_after', 'interval'])
def test_wrong_settings(name):
    with pytest.raises(ValueError, match=f'{name} must be an integer >= 1'):
        MemoryHook(**{name: 0})


def test_a_model_without_memory(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only())
    cfg.custom_hooks = [dict(type='MemoryHook')]
    runner = train(cfg)
    log = tmp_path / 'run' / runner.timestamp / f'{runner.timestamp}.log'
    assert 'MemoryHook has nothing to do: SupOnly has no memory' in log.read_text()
    runner.model = torch.nn.Identity()
    with pytest.raises(ValueError, match='Identity has none'):
        MemoryHook().before_train(runner)
