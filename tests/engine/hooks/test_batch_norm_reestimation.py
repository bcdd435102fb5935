import copy

import pytest
import torch
from distributed_run import parts
from helpers import frozen_copy
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.logging import MessageHub
from mmseg.registry import HOOKS, METRICS
from tiny_run import (
    build,
    config,
    differing,
    mean_teacher,
    sup_only,
    tiny_student,
    train,
    unlabeled_set,
    write_data,
)
from torch import nn

from mmsemiseg.datasets.samplers import StreamSampler
from mmsemiseg.engine.checkpoints import read_checkpoint
from mmsemiseg.engine.checkpoints.run_folder import find_resumable
from mmsemiseg.engine.hooks import BatchNormReestimationHook
from mmsemiseg.utils.random_state import random_state

FILE = 'bn_reestimated.pth'


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@METRICS.register_module(force=True)
class WorseAndWorse(BaseMetric):
    """The first validation is the best, whatever was predicted."""

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(mIoU=-float(MessageHub.get_current_instance().get_info('iter')))


def run(data, work_dir, model=None, hook=True, **settings):
    """Config of a mean teacher, whose hook re-estimates on 5 batches."""
    cfg = config(data, work_dir, model)
    if hook:
        cfg.custom_hooks.append(dict(type='BatchNormReestimationHook', batches=5))
        cfg.custom_hooks[-1].update(settings.pop('settings', {}))
    cfg.merge_from_dict(settings)
    return cfg


def started(cfg, **settings):
    """A runner before its training, and a hook outside of it."""
    runner = build(cfg)
    runner._init_model_weights()
    hook = BatchNormReestimationHook(**settings)
    hook.before_train(runner)
    return runner, hook


def drawn(loader, stream, count, rank=0, processes=1, seed=5):
    """Batches of data by hand, without a loader."""
    sampler = StreamSampler(loader.dataset, stream=f'{stream}/statistics', seed=seed)
    sampler.rank, sampler.world_size = rank, processes
    indices = iter(sampler)
    for _ in range(count):
        samples = [loader.dataset[next(indices)] for _ in range(loader.batch_size)]
        yield loader.collate_fn(samples)


def reference(model, loader, stream, count, name='student', view='weak', **process):
    """{layer: (mean, variance)}: means over batches, variances unbiased."""
    network = copy.deepcopy(model.networks[name])
    network.train()
    found = {}

    def note(key):
        def hook(module, inputs):
            pixels = inputs[0].double().transpose(0, 1).flatten(1)
            found.setdefault(key, []).append((pixels.mean(1), pixels.var(1)))

        return hook

    for key, module in network.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(note(key))
    for data in drawn(loader, stream, count, **process):
        batch = model.data_preprocessor({stream: data}, True)['inputs'][stream]
        batch = batch[view] if view else batch
        with torch.no_grad():
            network(batch.inputs)
    return {
        key: [torch.stack(values).mean(0) for values in zip(*rows, strict=True)]
        for key, rows in found.items()
    }


def assert_statistics(network, expected):
    norms = {
        key: module
        for key, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    assert norms.keys() == expected.keys()
    for key, (mean, variance) in expected.items():
        torch.testing.assert_close(norms[key].running_mean, mean.float())
        torch.testing.assert_close(norms[key].running_var, variance.float())


# The statistics


@pytest.mark.parametrize('name', ['student', 'teacher'])
@pytest.mark.parametrize(('stream', 'view'), [('unlabeled', 'weak'), ('labeled', None)])
def test_means_over_fresh_batches(stream, view, name, data, tmp_path):
    settings = dict(batches=5, stream=stream, networks=(name,))
    runner, hook = started(run(data, tmp_path / 'a', hook=False), **settings)
    model, loader = runner.model, runner.train_loop.streams[stream]
    expected = reference(model, loader, stream, 5, name, view)
    before = frozen_copy(model)
    hook.reestimate(runner)
    assert_statistics(model.networks[name], expected)
    # and nothing else has changed
    prefix = f'pairs.0.{name}.'
    for key in differing(frozen_copy(model), before):
        assert key.startswith(prefix)
        assert key.endswith(('running_mean', 'running_var', 'num_batches_tracked'))


@pytest.mark.parametrize('momentum', [0.1, 1.0])
def test_running_means_that_go_on_from_those_of_training(momentum, data, tmp_path):
    runner, hook = started(
        run(data, tmp_path / 'a', hook=False), batches=3, momentum=momentum
    )
    model, loader = runner.model, runner.train_loop.streams['unlabeled']
    norms = {
        key: module
        for key, module in model.student.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    expected = {}
    for key, norm in norms.items():
        norm.running_mean.fill_(3.0)
        expected[key] = [norm.running_mean.double(), norm.running_var.double()]
    for batch in range(1, 4):
        means = reference(model, loader, 'unlabeled', batch)
        for key, values in expected.items():
            before = reference(model, loader, 'unlabeled', batch - 1).get(key, (0, 0))
            for i, value in enumerate(values):  # the last of them alone
                last = batch * means[key][i] - (batch - 1) * before[i]
                values[i] = (1 - momentum) * value + momentum * last
    hook.reestimate(runner)
    assert_statistics(model.student, expected)
    assert {norm.momentum for norm in norms.values()} == {0.1}


def test_one_batch_at_a_time_and_the_order_matter(data, tmp_path):
    """So that the test above can fail."""
    runner, hook = started(run(data, tmp_path / 'a', hook=False), batches=5)
    model, loader = runner.model, runner.train_loop.streams['unlabeled']
    expected = reference(model, loader, 'unlabeled', 5)
    for other in (
        reference(model, loader, 'unlabeled', 4),
        reference(model, loader, 'unlabeled', 5, seed=6),
        reference(model, loader, 'unlabeled', 5, view='strong'),
    ):
        key = 'backbone.stem.1'
        assert not torch.allclose(other[key][1], expected[key][1], rtol=1e-4)


def test_leaves_modes_momenta_order_and_random_numbers(data, tmp_path):
    cfg = run(data, tmp_path / 'a', hook=False)
    runner, hook = started(cfg, batches=3, networks=('student', 'teacher'))
    loader = runner.train_loop.streams['unlabeled']
    runner.model.train()
    runner.model.student.backbone.layer1.eval()

    def state():
        norms = [m for m in runner.model.modules() if hasattr(m, 'momentum')]
        return (
            [m.training for m in runner.model.modules()],
            [m.momentum for m in norms],
            dict(vars(loader.sampler)),
            str(random_state()),
        )

    before = state()
    assert True in before[0]
    assert False in before[0]
    assert set(before[1]) == {0.1}
    hook.reestimate(runner)
    assert state() == before


def test_the_same_whenever_it_is_done_and_with_workers(data, tmp_path):
    states = []
    for workers in (0, 2):
        cfg = run(data, tmp_path / f'{workers}', hook=False)
        cfg.train_dataloader.unlabeled.num_workers = workers
        runner, hook = started(cfg, batches=3)
        torch.rand(workers)
        hook.reestimate(runner)
        hook.reestimate(runner)
        states.append(frozen_copy(runner.model))
    assert differing(*states) == []


def test_layers_that_are_left_alone(data, tmp_path):
    """Those frozen in eval mode, and those that a prediction does not use."""
    student = tiny_student()
    student['auxiliary_head'] = copy.deepcopy(student['decode_head'])
    student['backbone'].update(norm_eval=True)
    model = dict(type='SupOnly', student=student)
    cfg = run(data, tmp_path / 'a', model, hook=False)
    runner, hook = started(cfg, batches=2)
    before = frozen_copy(runner.model)
    hook.reestimate(runner)
    changed = differing(frozen_copy(runner.model), before)
    assert {key.rsplit('.', 1)[0] for key in changed} == {
        'pairs.0.student.decode_head.convs.0.bn',
        'pairs.0.student.decode_head.conv_cat.bn',
    }
    assert len(changed) == 6


def test_first_of_several_views(data, tmp_path):
    cfg = run(data, tmp_path / 'a', sup_only(), hook=False)
    views = dict(one=[dict(type='RandomFlip', prob=1.0)], two=[])
    cfg.train_dataloader.unlabeled.dataset = unlabeled_set(data)
    cfg.train_dataloader.unlabeled.dataset.pipeline[1] = dict(
        type='MultiView', shared=[], views=views
    )
    runner, hook = started(cfg, batches=2)
    loader = runner.train_loop.streams['unlabeled']
    expected = reference(runner.model, loader, 'unlabeled', 2, view='one')
    hook.reestimate(runner)
    assert_statistics(runner.model.student, expected)


# The run


@pytest.fixture(scope='module')
def done(data, tmp_path_factory):
    """A runner that has finished, without and with the hook."""
    folder = tmp_path_factory.mktemp('runs')
    runners = {}
    for name, hook in (('without', False), ('with', True)):
        cfg = run(data, folder / name, hook=hook)
        cfg.default_hooks.checkpoint.save_best = 'student/mIoU'
        cfg.train_cfg.val_interval = 2
        runners[name] = train(cfg)
    return folder, runners


def test_checkpoints_of_the_run_keep_their_statistics(done):
    folder, _ = done
    names = {
        name: {path.name for path in (folder / name).glob('*.pth')}
        for name in ('without', 'with')
    }
    assert names['with'] == names['without'] | {FILE}
    assert {'iter_2.pth', 'iter_4.pth'} < names['without'], 'and the best one'
    for name in names['without']:
        files = [read_checkpoint(folder / run / name) for run in ('without', 'with')]
        assert differing(*(file['state_dict'] for file in files)) == []
    pointer = (folder / 'with' / 'last_checkpoint').read_text()
    assert pointer == str(folder / 'with' / 'iter_4.pth')


def test_what_is_saved(done):
    folder, runners = done
    saved = read_checkpoint(folder / 'with' / FILE)
    assert saved['meta']['iter'] == 4
    assert 'optimizer' not in saved
    changed = differing(saved['state_dict'], frozen_copy(runners['without'].model))
    assert {key.rsplit('.', 1)[1] for key in changed} == {
        'running_mean',
        'running_var',
        'num_batches_tracked',
    }
    assert all(key.startswith('pairs.0.student.') for key in changed)
    assert differing(saved['state_dict'], frozen_copy(runners['with'].model)) == []


def test_never_resumed(done, tmp_path):
    folder, _ = done
    assert find_resumable(folder / 'with') == (str(folder / 'with' / 'iter_4.pth'), [])
    (tmp_path / FILE).write_bytes((folder / 'with' / FILE).read_bytes())
    assert find_resumable(tmp_path) == (None, [])


def test_scores_before_and_after(done, data, tmp_path):
    """The logged ones are those of the two checkpoints."""
    folder, runners = done
    scores = {}
    for name in ('iter_4.pth', FILE):
        cfg = run(data, tmp_path / name, hook=False)
        cfg.load_from = str(folder / 'with' / name)
        runner = build(cfg)
        runner.load_or_resume()
        scores[name] = runner.val()
    hub = runners['with'].message_hub
    for key, value in scores[FILE].items():
        assert hub.get_scalar(f'bn_reestimated/{key}').current() == value
        (log,) = (folder / 'with').glob('*/*.log')
        before = scores['iter_4.pth'][key]
        assert f'{key} {before:.2f} -> {value:.2f}' in log.read_text()
        # and the history of validations has two of them
        assert len(hub.get_scalar(f'val/{key}').data[0]) == 2


def test_resumed_at_its_end(done, data, tmp_path):
    """Without a validation; it writes the same file."""
    folder, _ = done
    written = read_checkpoint(folder / 'with' / FILE)
    (folder / 'with' / FILE).unlink()
    cfg = run(data, folder / 'with', resume=True)
    cfg.experiment_name = 'resumed_at_its_end'  # of one second: one message hub
    cfg.load_from = str(folder / 'with' / 'iter_4.pth')
    cfg.train_cfg.val_interval = 2
    runner = train(cfg)
    again = read_checkpoint(folder / 'with' / FILE)
    assert differing(again['state_dict'], written['state_dict']) == []
    scalars = [
        {key: value['log_history'] for key, value in scalars.items() if 'bn_' in key}
        for scalars in (c['message_hub']['log_scalars'] for c in (written, again))
    ]
    assert str(scalars[0]) == str(scalars[1])
    assert runner.iter == 4


def test_other_hooks_see_one_validation(data, tmp_path):
    class Seen(Hook):
        def __init__(self):
            self.metrics = []

        def after_val_epoch(self, runner, metrics=None):
            self.metrics.append(runner.iter)

    seen = Seen()
    runner = build(run(data, tmp_path / 'a'))
    runner.register_hook(seen)
    names = [type(hook).__name__ for hook in runner.hooks]
    runner.train()
    assert seen.metrics == [4]
    assert [type(hook).__name__ for hook in runner.hooks] == names


def test_without_validation(data, tmp_path):
    cfg = run(data, tmp_path / 'a', val_dataloader=None, val_cfg=None)
    cfg.val_evaluator = None
    train(cfg)
    assert (tmp_path / 'a' / FILE).exists()


def test_a_new_run_sets_the_file_aside(done, data):
    folder, _ = done
    train(run(data, folder / 'with', hook=False))
    (aside,) = (folder / 'with').glob('before_*')
    assert (aside / FILE).exists()
    assert not (folder / 'with' / FILE).exists()


def test_begins_with_the_best_weights(data, tmp_path):
    """The file has the weights of the best checkpoint, with other statistics."""
    cfg = run(data, tmp_path / 'a', settings=dict(best='student/mIoU', momentum=0.1))
    cfg.val_evaluator = dict(type='WorseAndWorse')
    cfg.default_hooks.checkpoint.update(save_best='student/mIoU', rule='greater')
    cfg.train_cfg.val_interval = 2
    runner = train(cfg)
    best = read_checkpoint(runner.message_hub.get_info('best_ckpt'))
    assert best['meta']['iter'] == 2
    saved = read_checkpoint(tmp_path / 'a' / FILE)
    changed = differing(saved['state_dict'], best['state_dict'])
    changed.remove('pairs.0.steps')  # a counter goes on
    statistics = ('running_mean', 'running_var', 'num_batches_tracked')
    assert {key.rsplit('.', 1)[1] for key in changed} == set(statistics)
    last = read_checkpoint(tmp_path / 'a' / 'iter_4.pth')['state_dict']
    key = 'pairs.0.student.decode_head.conv_seg.weight'
    assert not saved['state_dict'][key].equal(last[key])


def test_the_best_must_be_saved(data, tmp_path):
    cfg = run(data, tmp_path / 'a', settings=dict(best='student/mIoU'))
    cfg.default_hooks.checkpoint.pop('save_best', None)
    with pytest.raises(ValueError, match='Reestimation.*but none is saved: set'):
        train(cfg)


# Processes


def test_two_processes_average(tmp_path):
    """Each its share of 3 batches, 2: what they save is the mean of theirs."""
    states = parts()['reestimated']
    assert differing(*(state['after'] for state in states)) == []
    data = write_data(tmp_path / 'data', labeled=5, unlabeled=7)
    runner, _ = started(config(data, tmp_path / 'a', mean_teacher()))
    runner.model.load_state_dict(states[0]['before'])
    loader = runner.train_loop.streams['unlabeled']
    shares = [
        reference(runner.model, loader, 'unlabeled', 2, rank=rank, processes=2)
        for rank in (0, 1)
    ]
    runner.model.load_state_dict(states[0]['after'])
    means = {
        key: [sum(pair) / 2 for pair in zip(*(s[key] for s in shares), strict=True)]
        for key in shares[0]
    }
    assert_statistics(runner.model.student, means)


# Settings


def test_settings():
    hook = HOOKS.build(dict(type='BatchNormReestimationHook'))
    assert (hook.batches, hook.stream, hook.networks) == (
        1000,
        'unlabeled',
        ('student',),
    )
    with pytest.raises(ValueError, match='batches must be an integer >= 1, but got 0'):
        BatchNormReestimationHook(batches=0)
    for momentum in (0, 1.5):
        with pytest.raises(ValueError, match=r'momentum must be in \(0, 1\] or None'):
            BatchNormReestimationHook(momentum=momentum)
    for networks in ('student', ()):
        with pytest.raises(ValueError, match='networks must be a tuple of at least'):
            BatchNormReestimationHook(networks=networks)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(stream='source'), r"in \['labeled', 'unlabeled'\], but got 'source'"),
        (
            dict(networks=('student', 'mean')),
            r"in \['student', 'teacher'\] of MeanTeacher, but got \('student', 'mean'",
        ),
    ],
)
def test_names_are_checked_before_training(settings, message, data, tmp_path):
    cfg = run(data, tmp_path / 'a', settings=settings)
    with pytest.raises(ValueError, match=message):
        train(cfg)
    assert not list((tmp_path / 'a').glob('*.pth'))


def test_needs_layers_of_batch_norm(data, tmp_path):
    model = sup_only()
    norm = dict(type='GN', num_groups=2)
    model['student']['backbone']['norm_cfg'] = norm
    model['student']['decode_head']['norm_cfg'] = norm
    with pytest.raises(ValueError, match='student of SupOnly has none'):
        train(run(data, tmp_path / 'a', model))
