import shlex
from types import SimpleNamespace

import pytest
import torch
from helpers import build, student_cfg
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS, OPTIM_WRAPPERS
from tiny_run import config, mean_teacher, sup_only, train, write_data

from mmsemiseg.engine.hooks import AdviceHook, MeanTeacherHook
from mmsemiseg.engine.hooks.words import filters_of, settings_to_look_at
from mmsemiseg.functional import PseudoLabelStats


class Logger:
    def __init__(self):
        self.infos, self.warnings = [], []
        self.info, self.warning = self.infos.append, self.warnings.append


class Model(torch.nn.Module):
    filters = dict(threshold=0.9)
    predict_with = 'teacher'

    def __init__(self, **settings):
        super().__init__()
        self.step_outputs = {}
        for name, value in settings.items():
            setattr(self, name, value)


def make(name, max_iters=200, hooks=(), advice=None, **settings):
    """A runner and its hook, started."""
    hook = AdviceHook(**(advice or {}))
    runner = SimpleNamespace(
        model=Model(**settings),
        iter=0,
        max_iters=max_iters,
        logger=Logger(),
        message_hub=MessageHub.get_instance(f'test_advice_{name}'),
        train_loop=None,
        optim_wrapper=None,
        hooks=[*hooks, hook],
        cfg=SimpleNamespace(filename='configs/config.py'),
        work_dir='work_dirs/mine',
        timestamp='now',
    )
    hook.before_train(runner)
    return runner, hook


def iterate(runner, hook, count, kept, of=1000, confidence=0.5):
    stats = [torch.tensor([x, 0]) for x in (of, kept)]
    sure = torch.tensor([of * confidence, 0], dtype=torch.float64)
    for _ in range(count):
        runner.model.step_outputs = dict(pseudo=PseudoLabelStats(*stats, sure))
        hook.after_train_iter(runner, runner.iter)
        runner.iter += 1


@pytest.mark.parametrize(
    ('wrapper', 'device', 'can', 'said'),
    [
        ('OptimWrapper', 'cpu', True, True),
        ('Bf16OptimWrapper', 'cpu', True, False),
        ('OptimWrapper', 'cpu', False, False),
        ('OptimWrapper', 'cuda', True, False),
    ],
)
def test_bfloat16_that_is_not_used(wrapper, device, can, said, monkeypatch):
    place = 'mmsemiseg.engine.hooks.advice'
    monkeypatch.setattr(f'{place}.get_device', lambda: device)
    monkeypatch.setattr(f'{place}.has_bfloat16', lambda: can)
    runner, hook = make('precision')
    assert runner.logger.infos == []
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    cfg = dict(type=wrapper, optimizer=optimizer)
    runner.optim_wrapper = OPTIM_WRAPPERS.build(cfg)
    hook.before_train(runner)
    assert len(runner.logger.infos) == said
    if said:
        assert 'float32: --amp (optim_wrapper.type=' in runner.logger.infos[0]


def test_pixels_that_teach_nothing():
    runner, hook = make('low')
    iterate(runner, hook, 50, kept=1)
    assert runner.logger.warnings == [
        'fewer than 1% of the unlabeled pixels teach anything (0.10% in the last 50 '
        'iterations): lower model.threshold (now 0.9) or train longer'
    ]
    iterate(runner, hook, 100, kept=1)  # said already
    assert len(runner.logger.warnings) == 1
    iterate(runner, hook, 50, kept=10)
    assert len(runner.logger.warnings) == 1
    iterate(runner, hook, 50, kept=0)  # again
    assert len(runner.logger.warnings) == 2


def test_the_first_eighth_of_a_run_may_teach_nothing():
    runner, hook = make('begin', max_iters=8000)
    iterate(runner, hook, 999, kept=0)
    assert runner.logger.warnings == []
    iterate(runner, hook, 1, kept=0)
    assert 'in the last 500 iterations' in runner.logger.warnings[0]


@pytest.mark.parametrize(
    ('filters', 'words'),
    [
        ({}, 'iterations): train longer'),
        (
            dict(threshold=0.9, share_threshold=0.968),
            'lower model.threshold (now 0.9) or '
            'lower model.share_threshold (now 0.968) or train longer',
        ),
        (
            {'pseudo_loss.class_share': 0.001},
            'raise model.pseudo_loss.class_share (now 0.001) or train longer',
        ),
    ],
)
def test_the_setting_that_is_responsible(filters, words):
    runner, hook = make('filters' + '-'.join(filters), filters=filters)
    iterate(runner, hook, 50, kept=0)
    assert words in runner.logger.warnings[0]


def test_what_each_method_says_keeps_pixels_out():
    student = student_cfg()

    def filters(kind, **settings):
        model = build(dict(type=kind, student=student, **settings))
        named = settings_to_look_at(model)
        assert all(name in named for name in model.filters)
        assert ('no setting of it' in named) != bool(model.filters)
        return filters_of(model)

    assert filters('MeanTeacher') == {'pseudo_loss.threshold': 0.7}
    loss = dict(threshold=None)
    assert filters('MeanTeacher', pseudo_loss=loss) == {}
    loss = dict(threshold=None, share_threshold=0.5)
    found = filters('MeanTeacher', pseudo_loss=loss)
    assert found == {'pseudo_loss.share_threshold': 0.5}
    loss = dict(threshold=None, class_share=0.8)
    found = filters('MeanTeacher', pseudo_loss=loss)
    assert found == {'pseudo_loss.class_share': 0.8}
    found = filters('FixMatch', pseudo_loss=dict(threshold=0.95))
    assert found == {'pseudo_loss.threshold': 0.95}
    assert filters('CMB') == filters('CTT') == {}
    name = 'contrast.threshold'
    assert filters('CAC', contrast=dict(threshold=0.6)) == {name: 0.6}
    assert filters('CAC', contrast=dict(threshold=None)) == {}
    assert filters_of(SimpleNamespace(threshold=0.5)) == dict(threshold=0.5)


def val(runner, hook, iteration, **scores):
    runner.iter = iteration
    hook.after_val_epoch(runner, {f'{k}/mIoU': v for k, v in scores.items()})


def test_a_teacher_that_is_slow_for_the_run():
    mover = MeanTeacherHook(decay=0.99)
    runner, hook = make('slow', hooks=[mover], teacher_updates=200)
    val(runner, hook, 200, student=48.2, teacher=33.7)
    assert runner.logger.warnings == [
        'the teacher is 14 mIoU behind its student (33.7, student 48.2): decay 0.99 is '
        'slow for 200 iterations, it averages over 100 of them. Take a '
        'MeanTeacherHook.decay of about 0.9, or train longer. Tests predict with '
        "'teacher' (model.predict_with): --predict-with student shows the student"
    ]
    val(runner, hook, 200, student=48.2, teacher=32)  # said already
    val(runner, hook, 200, student=48.2, teacher=44)  # not far behind
    assert len(runner.logger.warnings) == 1
    val(runner, hook, 200, student=48.2, teacher=30)
    assert len(runner.logger.warnings) == 2


@pytest.mark.parametrize(
    ('settings', 'steps', 'total', 'words'),
    [
        (dict(decay=0.99), 500, 80000, None),  # it has yet to catch up
        (dict(decay=0.99), 40000, 80000, 'decay 0.99 does not explain it'),
        (dict(decay=0.99, anneal='cosine'), 78000, 80000, 'hardly follows any more'),
        (dict(decay=0.999), 4000, 10000, 'MeanTeacherHook.decay of about 0.998,'),
        (dict(decay=0.5), 3, 10, None),
    ],
)
def test_advice_knows_the_decay_and_the_length(settings, steps, total, words):
    name = f'{settings["decay"]}_{steps}'
    mover = MeanTeacherHook(**settings)
    runner, hook = make(name, total, hooks=[mover], teacher_updates=steps)
    val(runner, hook, steps, student=50, teacher=30)
    assert [words in text for text in runner.logger.warnings] == [True] * bool(words)


def test_without_the_hook_only_what_is_seen():
    runner, hook = make('none', predict_with='student')
    val(runner, hook, 200, student0=50, teacher0=30, student1=50, teacher1=49)
    assert runner.logger.warnings == [
        'the teacher0 is 20 mIoU behind its student (30.0, student0 50.0)'
    ]


def last_line(runner, hook):
    hook.after_run(runner)
    return runner.logger.infos[-1]


def test_last_line():
    runner, hook = make('last')
    iterate(runner, hook, 10, kept=310, confidence=0.8)
    val(runner, hook, 10, student=48.2, teacher=48.7)
    assert last_line(runner, hook) == (
        'did the unlabeled images help? 31% of their pixels taught over the run (mean '
        'confidence 0.80); mIoU at the last validation: student 48.2, teacher 48.7. '
        'To see whether that is more than the labels alone give, compare with a run of '
        'the same length without the unlabeled images: '
        'mim train mmsemiseg work_dirs/mine/config.py --sup-only'
    )


def test_the_command_of_the_last_line_can_be_copied():
    runner, hook = make('space')
    runner.work_dir = 'work dirs/mine'
    command = last_line(runner, hook).split('images: ')[1]
    assert shlex.split(command)[3] == 'work dirs/mine/config.py'


def test_last_line_of_self_training_points_to_its_first_stage(tmp_path):
    runner, hook = make('masks', extra_streams=('pseudo',))
    runner.work_dir = str(tmp_path / 'student')
    (tmp_path / 'teacher').mkdir()
    val(runner, hook, 10, student=48.2)
    assert last_line(runner, hook) == (
        "did the unlabeled images help? They taught by masks (stream 'pseudo'); mIoU "
        'at the last validation: student 48.2. To see whether that is more than the '
        'labels alone give, compare with the training on labels alone, whose log is in '
        f'{tmp_path / "teacher"}'
    )


def test_last_line_points_to_a_baseline_that_is_there():
    runner, hook = make('baseline', advice=dict(baseline='work_dirs/labels'))
    iterate(runner, hook, 10, kept=400)
    text = last_line(runner, hook)
    assert text.endswith('on labels alone, whose log is in work_dirs/labels')
    assert '--sup-only' not in text


def test_last_line_of_images_that_taught_nothing():
    runner, hook = make('nothing')
    iterate(runner, hook, 10, kept=1)
    text = last_line(runner, hook)
    assert 'Hardly: 0.10% of their pixels taught anything over the run, by' in text
    assert 'model.threshold=0.9' in text


def test_last_line_of_labels_alone_and_of_methods_that_say_nothing():
    runner, hook = make('alone', learns_unlabeled=False)
    assert last_line(runner, hook).startswith('this run learned from labels alone')
    runner, hook = make('silent')
    assert 'is not known of Model' in last_line(runner, hook)
    hook.after_run(runner)  # of a test
    assert len(runner.logger.infos) == 1


def test_shares_of_methods_without_pseudo_labels():
    runner, hook = make('share')
    for share in (0.2, 0.4):
        runner.model.step_outputs = dict(coverage=torch.tensor(share))
        hook.after_train_iter(runner, runner.iter)
    assert ' 30% of their pixels taught over the run;' in last_line(
        runner, hook
    ).replace('. To see', ';')


@pytest.mark.parametrize('settings', [dict(max_lag=0), dict(period=0)])
def test_settings(settings):
    with pytest.raises(ValueError, match=f'{next(iter(settings))} must be .*got 0'):
        HOOKS.build(dict(type='AdviceHook', **settings))


def test_every_run_ends_with_it_and_a_resumed_one_knows_the_whole(tmp_path):
    data = write_data(tmp_path / 'data')

    def run(folder, **settings):
        cfg = config(data, tmp_path / folder, max_iters=4, **settings)
        cfg.default_hooks.checkpoint.interval = 2
        runner = train(cfg)
        log = runner.work_dir + f'/{runner.timestamp}/{runner.timestamp}.log'
        return open(log).read().splitlines()[-1].split(' - ')[-1].split('mim train')[0]

    whole = run('run', model=None)
    assert whole.startswith('did the unlabeled images help? 100% of their pixels')
    assert 'mIoU at the last validation: student' in whole
    again = dict(resume=True, load_from=str(tmp_path / 'run/iter_2.pth'))
    assert run('run', **again) == whole
    assert 'labels alone' in run('sup', model=sup_only())
    cfg = config(data, tmp_path / 'off', mean_teacher(), max_iters=1)
    cfg.custom_hooks = [dict(type='MeanTeacherHook')]
    cfg.default_hooks.advice = None
    assert not any(isinstance(hook, AdviceHook) for hook in train(cfg).hooks)
