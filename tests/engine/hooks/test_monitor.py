from types import SimpleNamespace

import pytest
import torch
from forked import of_file, on_two_ranks
from mmengine.dist import get_rank
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS

from mmsemiseg.engine.hooks.monitor import PseudoLabelMonitorHook
from mmsemiseg.functional import PseudoLabelStats


class FakeLogger:
    def __init__(self):
        self.infos, self.warnings = [], []
        self.info, self.warning = self.infos.append, self.warnings.append


def make_runner(name, classes=('road', 'car', 'pole'), **settings):
    model = torch.nn.Module()
    model.step_outputs = {}
    for key, value in settings.items():
        setattr(model, key, value)
    dataset = SimpleNamespace(metainfo={'classes': classes})
    return SimpleNamespace(
        model=model,
        iter=0,
        max_iters=1000,
        logger=FakeLogger(),
        message_hub=MessageHub.get_instance(f'test_pseudo_monitor_{name}'),
        train_loop=None,
        train_dataloader=SimpleNamespace(dataset=dataset),
    )


def stats(total, count, confidence=None):
    confidence = confidence or [0.5 * t for t in total]
    return PseudoLabelStats(
        torch.tensor(total),
        torch.tensor(count),
        torch.tensor(confidence, dtype=torch.float64),
    )


def feed(hook, runner, rows):
    for row in rows:
        runner.model.step_outputs = {} if row is None else {'pseudo': row}
        hook.after_train_iter(runner, runner.iter, outputs={})
        runner.iter += 1


def start(runner, **settings):
    hook = PseudoLabelMonitorHook(**settings)
    hook.before_train(runner)
    return hook


def test_scalars_are_those_of_all_iterations_since_the_last_report():
    runner = make_runner('scalars')
    hook = start(runner, interval=2)
    rows = [
        stats([10, 0, 0], [5, 0, 0], [8.0, 0.0, 0.0]),
        stats([0, 30, 0], [0, 25, 0], [0.0, 20.0, 0.0]),
        stats([4, 0, 0], [1, 0, 0], [3.0, 0.0, 0.0]),
    ]
    feed(hook, runner, rows)
    hub = runner.message_hub
    assert hub.get_scalar('train/pseudo_coverage').current() == 30 / 40
    assert hub.get_scalar('train/pseudo_confidence').current() == 28 / 40
    assert len(runner.logger.infos) == 1
    feed(hook, runner, [stats([6, 0, 0], [1, 0, 0], [5.0, 0.0, 0.0])])
    assert hub.get_scalar('train/pseudo_coverage').current() == 2 / 10
    assert hub.get_scalar('train/pseudo_confidence').current() == 8 / 10


def test_the_log_line_tells_share_and_coverage_of_each_class():
    runner = make_runner('line')
    feed(start(runner, interval=1), runner, [stats([30, 10, 0], [15, 10, 0])])
    assert runner.logger.infos == [
        'pseudo labels: road 75.0% (50% kept), car 25.0% (100% kept), '
        'pole 0.0% (0% kept)'
    ]


def test_a_starving_class_is_named_once_per_streak():
    runner = make_runner('starving', threshold=0.9)
    hook = start(runner, interval=2, window=4)
    fine, hungry = stats([5, 5, 5], [1, 1, 1]), stats([5, 5, 0], [1, 0, 0])
    feed(hook, runner, [fine, fine] + [hungry] * 2)
    assert runner.logger.warnings == []
    feed(hook, runner, [hungry] * 6)
    assert len(runner.logger.warnings) == 2
    car, pole = runner.logger.warnings
    assert "class 'car' (1) in the last 4 iterations" in car
    assert 'its mean confidence was 0.500' in car
    assert 'threshold=0.9' in car
    assert "class 'pole' (2) in the last 4 iterations" in pole
    assert 'not predicted at all' in pole
    feed(hook, runner, [fine, fine] + [hungry] * 4)
    assert len(runner.logger.warnings) == 4


def test_a_class_that_was_never_seen_starves_from_the_first_iteration():
    runner = make_runner('never', classes=None)
    feed(start(runner, interval=1, window=3), runner, [stats([5, 0], [5, 0])] * 3)
    assert len(runner.logger.warnings) == 1
    assert "class '1' (1) in the last 3 iterations" in runner.logger.warnings[0]


def test_in_a_short_run_half_of_it_is_enough():
    runner = make_runner('short')
    runner.max_iters = 8
    hook, row = start(runner, interval=1), stats([5, 0], [5, 0])
    feed(hook, runner, [row] * 3)
    assert runner.logger.warnings == []
    feed(hook, runner, [row])
    assert 'in the last 4 iterations' in runner.logger.warnings[0]


def test_without_stats_or_valid_pixels_nothing_is_written():
    runner = make_runner('nothing')
    hook = start(runner, interval=1)
    feed(hook, runner, [None, stats([0, 0, 0], [0, 0, 0])])
    del runner.model.step_outputs
    hook.after_train_iter(runner, 2)
    assert 'train/pseudo_coverage' not in runner.message_hub.log_scalars
    assert runner.logger.infos == runner.logger.warnings == []


def test_the_stats_of_the_model_are_not_changed():
    runner = make_runner('unchanged')
    one = stats([5, 5, 5], [1, 1, 1])
    hook = start(runner, interval=10)
    feed(hook, runner, [one, one])
    assert one.total.tolist() == [5, 5, 5]
    assert one.count.tolist() == [1, 1, 1]


def report_of_rank(folder):
    """Two iterations in which each rank keeps a class of its own."""
    runner = make_runner('rank')
    kept = [1, 0, 0] if get_rank() == 0 else [0, 2, 0]
    feed(start(runner, interval=2, window=2), runner, [stats([2, 2, 0], kept)] * 2)
    return [*runner.logger.infos, *runner.logger.warnings]


def test_processes_report_what_they_saw_together(tmp_path):
    first, second = on_two_ranks(of_file, tmp_path, __file__, 'report_of_rank')
    assert first == second
    line, warning = first
    assert 'road 50.0% (25% kept), car 50.0% (50% kept), pole 0.0% (0% kept)' in line
    # a class that one process keeps does not starve
    assert "'pole'" in warning


def test_settings_are_checked():
    for name in ('interval', 'window'):
        with pytest.raises(ValueError, match=f'{name} must be an integer >= 1'):
            PseudoLabelMonitorHook(**{name: 0})
    hook = HOOKS.build({'type': 'PseudoLabelMonitorHook', 'interval': 7})
    assert hook.interval == 7
