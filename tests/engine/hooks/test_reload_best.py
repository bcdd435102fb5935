import shutil

import pytest
import torch
from helpers import frozen_copy, student_cfg
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS, METRICS, MODELS
from tiny_run import build, config, differing, mean_teacher, write_data

from mmsemiseg.engine.checkpoints import CheckpointError, read_checkpoint
from mmsemiseg.engine.hooks import ReloadBestHook
from mmsemiseg.engine.hooks.best_weights import reload_weights, weights
from mmsemiseg.models import MeanTeacher

ITERS = 12


@METRICS.register_module(force=True)
class Scripted(BaseMetric):
    """Scores by iteration, whatever was predicted."""

    def __init__(self, **scores):
        super().__init__()
        self.scores = scores

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        step = MessageHub.get_current_instance().get_info('iter') + 1
        return {
            name: values[step // 2 - 1]  # a validation every 2 iterations
            for name, values in self.scores.items()
        }


@MODELS.register_module(force=True)
class HeadAndBank(MeanTeacher):
    """With a head and a bank that a step fills, both outside of the networks."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.head = torch.nn.Sequential(
            torch.nn.Conv2d(3, 2, 1), torch.nn.BatchNorm2d(2)
        )
        self.register_buffer('bank', torch.zeros(()))

    def step(self, streams):
        losses = super().step(streams)
        losses['loss_head'] = self.head(streams['unlabeled']['weak'].inputs).sum()
        self.step_outputs['memory'] = dict(rows=torch.ones(1))
        return losses

    def update_memory(self, rows):
        self.bank += rows.sum()


class Watch(Hook):
    """Weights before and after each validation; stops where it is told."""

    priority = 'LOWEST'

    def __init__(self, stop=None):
        self.stop = stop
        self.before, self.after = {}, {}

    def before_val(self, runner):
        self.before[runner.iter] = frozen_copy(runner.model)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._stop('step', runner.iter + 1)

    def after_val(self, runner):
        self.after[runner.iter] = frozen_copy(runner.model)
        self._stop('reloaded', runner.iter)

    def _stop(self, moment, iteration):
        if self.stop == (moment, iteration):
            raise KeyboardInterrupt


class StopBeforeReload(Hook):
    """After the checkpoint hook has seen the scores."""

    priority = 'ABOVE_NORMAL'

    def __init__(self, iteration):
        self.iteration = iteration

    def after_val(self, runner):
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def run(data, work_dir, scores, patience=4, others=None, **settings):
    """Config; scores of the 6 validations of 12 iterations, a checkpoint every 3."""
    model = dict(mean_teacher(), type='HeadAndBank')
    cfg = config(data, work_dir, model, max_iters=ITERS, **settings)
    cfg.train_cfg.val_interval = 2
    cfg.val_evaluator = dict(type='Scripted', mIoU=scores, **(others or {}))
    metrics = ['student/mIoU', *(f'student/{name}' for name in others or ())]
    best = metrics if others else metrics[0]
    cfg.default_hooks.checkpoint.update(interval=3, save_best=best, rule='greater')
    cfg.custom_hooks = [
        dict(type='MeanTeacherHook', decay=0.9),
        dict(type='MemoryHook'),
        dict(type='ReloadBestHook', patience=patience),
    ]
    return cfg


def train(cfg, *hooks):
    runner = build(cfg)
    for hook in hooks:
        runner.register_hook(hook)
    try:
        runner.train()
    except KeyboardInterrupt:
        runner.model.stopped = True
    return runner


def reloads(watch):
    """Iterations whose validation changed the weights."""
    return [n for n in watch.after if differing(watch.before[n], watch.after[n])]


# When


@pytest.mark.parametrize(
    ('scores', 'patience', 'expected'),
    [
        ([1, 2, 3, 4, 5, 6], 2, []),
        ([6, 5, 4, 3, 2, 1], 4, [6, 10]),  # best at 2; then 4 after the reload
        ([6, 5, 4, 3, 2, 1], 3, [6, 10]),
        ([6, 5, 4, 3, 2, 1], 2, [4, 6, 8, 10]),  # never after the last iteration
        ([6, 5, 4, 3, 2, 1], 8, [10]),
        ([6, 5, 4, 3, 2, 1], 10, []),
        ([5, 5, 5, 5, 5, 5], 6, [8]),  # as good is not better
        ([5, 4, 3, 6, 5, 4], 4, [6]),  # at 8 a new best
        ([1, 3, 2, 2, 4, 2], 4, [8]),
        ([float('nan')] * 6, 2, []),  # there is no best
        ([float('nan'), 1, 0, 0, 0, 0], 4, [8]),
    ],
)
def test_when(scores, patience, expected, data, tmp_path):
    watch = Watch()
    train(run(data, tmp_path / 'run', scores, patience), watch)
    assert reloads(watch) == expected


@pytest.mark.parametrize('rule', ['greater', 'less'])
def test_rule_of_the_checkpoint_hook(rule, data, tmp_path):
    cfg = run(data, tmp_path / 'run', [1, 2, 3, 4, 5, 6], 4)
    cfg.default_hooks.checkpoint.rule = rule
    watch = Watch()
    train(cfg, watch)
    assert reloads(watch) == ([] if rule == 'greater' else [6, 10])


def test_one_of_several_metrics(data, tmp_path):
    others = dict(other=[1, 2, 3, 4, 5, 6])
    watch = Watch()
    cfg = run(data, tmp_path / 'run', [1, 6, 5, 4, 3, 2], others=others)
    train(cfg, watch)
    assert reloads(watch) == [8]
    best = {key: watch.before[4][key] for key in learned()}
    assert differing({key: watch.after[8][key] for key in learned()}, best) == []
    watch = Watch()
    cfg = run(data, tmp_path / 'other', [1, 6, 5, 4, 3, 2], others=others)
    cfg.custom_hooks[-1].metric = 'student/other'
    train(cfg, watch)
    assert reloads(watch) == []


def test_validation_without_training(data, tmp_path):
    cfg = run(data, tmp_path / 'run', [1] * 6)
    cfg.default_hooks.checkpoint.pop('save_best')
    runner = build(cfg)
    runner.message_hub.update_info('iter', 1)
    assert runner.val() == {'student/mIoU': 1, 'teacher/mIoU': 1}


# What


def learned():
    """Names of what is reloaded of HeadAndBank."""
    model = MODELS.build(dict(mean_teacher(), type='HeadAndBank'))
    return [key for key in model.state_dict() if key not in ('bank', 'pairs.0.steps')]


def test_what_is_reloaded(data, tmp_path):
    """All that is learned, of student, teacher and head; not the rest."""
    watch = Watch()
    runner = train(run(data, tmp_path / 'run', [6, 5, 4, 3, 2, 1], 6), watch)
    assert reloads(watch) == [8]
    best, before, after = watch.before[2], watch.before[8], watch.after[8]
    names = learned()
    assert sum('teacher' in name for name in names) > 20
    for name in ('head.0.weight', 'head.1.weight', 'head.1.running_var'):
        assert name in names
    changed = differing(best, before)
    assert set(changed) >= {name for name in names if name.endswith('weight')}
    assert [name for name in names if not after[name].equal(best[name])] == []
    for name, value in (('bank', 8), ('pairs.0.steps', 8)):
        assert after[name] == value != best[name]
    assert runner.iter == ITERS
    momentum = runner.optim_wrapper.optimizer.state_dict()['state']
    assert all(state['momentum_buffer'].abs().sum() > 0 for state in momentum.values())


def test_teachers_of_the_reloaded_students(data, tmp_path):
    """They do not count their updates anew."""
    cfg = run(data, tmp_path / 'run', [6, 5, 4, 3, 2, 1], 6)
    cfg.custom_hooks[-1].teacher = 'student'
    watch = Watch()
    train(cfg, watch)
    assert reloads(watch) == [8]
    best, after = watch.before[2], watch.after[8]
    prefix = 'pairs.0.teacher.'
    for name in learned():
        source = name.replace('.teacher.', '.student.')
        assert after[name].equal(best[source])
    teacher = [name for name in learned() if name.startswith(prefix)]
    assert any(not best[name].equal(after[name]) for name in teacher)
    assert after['pairs.0.steps'] == 8


def test_patience_of_one_more_is_after_it(data, tmp_path):
    """As the published code has it: more than 4 iterations without a better one."""
    watch = Watch()
    train(run(data, tmp_path / 'run', [6, 5, 4, 3, 2, 1], 4 + 1), watch)
    assert reloads(watch) == [8]


def test_names_of_the_weights(data, tmp_path):
    runner = build(run(data, tmp_path / 'run', [1] * 6))
    assert list(weights(runner.model)) == learned()


def test_statistics_of_heads_with_a_batch_norm_of_their_own():
    balanced = dict(type='BalancedCrossEntropy')
    student = student_cfg(decode_head=dict(loss_decode=balanced))
    windows = dict(labels=2, pseudo=3)
    model = MODELS.build(dict(type='CMB', student=student, class_balance=windows))
    others = ('contrast.banks', 'class_balance')
    assert list(weights(model)) == [
        key
        for key in model.state_dict()
        if not key.startswith(others) and not key.endswith('.steps')
    ]
    for part in ('projection.norm', 'attention.prediction'):
        assert f'contrast.head_pairs.0.teacher.{part}.running_var' in weights(model)


def test_optimizer_goes_on_unchanged(data, tmp_path):
    """A step after the reload uses the reloaded weights and the old momentum."""

    class Momentum(Hook):
        def before_val(self, runner):
            self.before = self.read(runner)

        def after_val(self, runner):
            if runner.iter == 6:
                self.after = self.read(runner)
                self.kept = self.before

        @staticmethod
        def read(runner):
            state = runner.optim_wrapper.optimizer.state
            return {id(p): s['momentum_buffer'].clone() for p, s in state.items()}

    hook = Momentum()
    hook.priority = 'LOWEST'
    runner = train(run(data, tmp_path / 'run', [6, 5, 4, 3, 2, 1], 4), hook)
    assert hook.kept.keys() == hook.after.keys()
    assert all(hook.after[key].equal(value) for key, value in hook.kept.items())
    groups = runner.optim_wrapper.optimizer.param_groups
    assert {id(p) for g in groups for p in g['params']} == {
        id(p) for p in runner.model.parameters()
    }


def test_a_file_of_another_model(data, tmp_path):
    cfg = run(data, tmp_path / 'run', [1] * 6)
    model = build(cfg).model
    state = model.state_dict()
    del state['head.0.weight']
    path = str(tmp_path / 'other.pth')
    torch.save(dict(state_dict=state), path)
    with pytest.raises(CheckpointError, match=r'1 missing \(head.0.weight\)'):
        reload_weights(model, path)
    with pytest.raises(FileNotFoundError):
        reload_weights(model, str(tmp_path / 'none.pth'))


# Resume

SCORES = [3, 6, 5, 4, 7, 1]  # patience 4: best at 4, reload at 8, best at 10


@pytest.fixture(scope='module')
def whole(data, tmp_path_factory):
    """Weights at the end, and files, of an uninterrupted run."""
    work_dir = tmp_path_factory.mktemp('whole') / 'run'
    watch = Watch()
    runner = train(run(data, work_dir, SCORES), watch)
    assert reloads(watch) == [8]
    return frozen_copy(runner.model), sorted(p.name for p in work_dir.glob('*.pth'))


def test_resumed_after_new_teachers(data, tmp_path):
    def cfg(name, **more):
        found = run(data, tmp_path / name, SCORES, **more)
        found.custom_hooks[-1].teacher = 'student'
        return found

    whole = train(cfg('whole'))
    train(cfg('run'), Watch(('reloaded', 8)))
    runner = train(cfg('run', resume='auto'))
    assert differing(frozen_copy(runner.model), frozen_copy(whole.model)) == []


@pytest.mark.parametrize(
    'stop',
    [
        ('step', 4),
        ('step', 6),
        ('step', 8),
        ('reloaded', 8),
        ('step', 9),
        ('step', 10),
        ('reloaded', 10),
        ('step', ITERS),
        'before the reload',
    ],
)
def test_resumed_run_equals_the_uninterrupted(stop, data, whole, tmp_path):
    work_dir = tmp_path / 'run'
    hook = StopBeforeReload(8) if isinstance(stop, str) else Watch(stop)
    assert hasattr(train(run(data, work_dir, SCORES), hook).model, 'stopped')
    runner = train(run(data, work_dir, SCORES, resume='auto'))
    assert differing(frozen_copy(runner.model), whole[0]) == []
    assert sorted(p.name for p in work_dir.glob('*.pth')) == whole[1]


def test_stopped_when_a_checkpoint_says_that_it_is_due(data, tmp_path):
    """The best of another metric was saved before the reload of the same validation."""
    others = dict(other=[1, 2, 3, 4, 3, 2])
    whole = train(run(data, tmp_path / 'whole', SCORES, others=others))
    work_dir = tmp_path / 'run'
    train(run(data, work_dir, SCORES, others=others), StopBeforeReload(8))
    info = read_checkpoint(work_dir / 'iter_8.pth')['message_hub']['runtime_info']
    assert info['reload_best'] == dict(best=4, reloaded=0, due=True)
    copied = tmp_path / 'copy' / 'run'  # and it goes on in a copy of its folder
    shutil.copytree(work_dir, copied)
    shutil.rmtree(work_dir)
    runner = train(run(data, copied, SCORES, others=others, resume='auto'))
    assert differing(frozen_copy(runner.model), frozen_copy(whole.model)) == []


def test_the_best_lies_there_after_two_stops(data, tmp_path):
    """A resumed run deletes the former best only when none will go back to it.

    It reads the best of 2 at 8, finds a better one at 10, and begins at 6 again.
    """
    scores = [6, 5, 4, 3, 7, 1]
    settings = {'default_hooks.checkpoint.interval': 6}

    def cfg(**more):
        cfg = run(data, tmp_path / 'run', scores, 6, **more)
        cfg.merge_from_dict(settings)
        return cfg

    train(cfg(), Watch(('step', 7)))
    train(cfg(resume='auto'), Watch(('step', 11)))
    runner = train(cfg(resume='auto'))
    whole = train(run(data, tmp_path / 'whole', scores, 6))
    assert differing(frozen_copy(runner.model), frozen_copy(whole.model)) == []


def test_added_to_a_run_that_was_stopped(data, tmp_path):
    """Nobody has counted: patience begins anew."""
    cfg = run(data, tmp_path / 'run', [6, 5, 4, 3, 2, 1])
    hook = cfg.custom_hooks.pop()
    train(cfg, Watch(('step', 7)))
    cfg = run(data, tmp_path / 'run', [6, 5, 4, 3, 2, 1], resume='auto')
    assert cfg.custom_hooks[-1] == hook
    watch = Watch()
    train(cfg, watch)
    assert reloads(watch) == [10]


# Settings


def test_settings():
    hook = HOOKS.build(dict(type='ReloadBestHook', patience=5))
    assert (hook.patience, hook.metric) == (5, 'student/mIoU')
    with pytest.raises(ValueError, match='patience must be an integer >= 1, but got 0'):
        ReloadBestHook(0)
    with pytest.raises(ValueError, match="teacher must be in .*, but got 'best'"):
        ReloadBestHook(5, teacher='best')


def test_no_teacher_to_make(data, tmp_path):
    cfg = run(data, tmp_path / 'run', [1] * 6)
    cfg.model = dict(type='SupOnly', student=cfg.model.student)
    cfg.train_dataloader.pop('unlabeled')
    cfg.custom_hooks = [cfg.custom_hooks[-1]]
    cfg.custom_hooks[0].teacher = 'student'
    with pytest.raises(ValueError, match='SupOnly has no teacher: leave teacher at'):
        train(cfg)


@pytest.mark.parametrize('best', [None, 'auto', 'teacher/mIoU'])
def test_the_best_must_be_saved(best, data, tmp_path):
    cfg = run(data, tmp_path / 'run', [1] * 6)
    cfg.default_hooks.checkpoint.save_best = best
    with pytest.raises(ValueError, match="by 'student/mIoU', but none is saved"):
        train(cfg)


def test_unknown_metric(data, tmp_path):
    cfg = run(data, tmp_path / 'run', [1] * 6)
    cfg.default_hooks.checkpoint.save_best = 'student/IoU'
    cfg.custom_hooks[-1].metric = 'student/IoU'
    with pytest.raises(ValueError, match=r"in \['student/mIoU', 'teacher/mIoU'\]"):
        train(cfg)
