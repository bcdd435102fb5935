import pytest
from tiny_run import (
    build,
    config,
    mean_teacher,
    sup_only,
    tiny_student,
    train,
    write_data,
)

from mmsemiseg.engine.runner import SemiRunner

SCALE = dict(enable=True, base_batch_size=10)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def learning_rate(runner):
    return runner.optim_wrapper.get_lr()['lr']


def test_lr_follows_the_summed_batch(data, tmp_path):
    runner = train(config(data, tmp_path / 'a', max_iters=1, auto_scale_lr=SCALE))
    assert learning_rate(runner) == pytest.approx([0.1 * (2 + 3) / 10])
    assert sorted(runner._train_dataloader) == ['labeled', 'unlabeled']


def test_lr_follows_the_processes(data, tmp_path, monkeypatch):
    monkeypatch.setattr(SemiRunner, 'world_size', 4)
    runner = train(config(data, tmp_path / 'a', max_iters=1, auto_scale_lr=SCALE))
    assert learning_rate(runner) == pytest.approx([0.1 * 4 * (2 + 3) / 10])


def test_lr_stays_without_being_asked(data, tmp_path):
    scale = dict(enable=False, base_batch_size=10)
    runner = train(config(data, tmp_path / 'a', max_iters=1, auto_scale_lr=scale))
    assert learning_rate(runner) == [0.1]


@pytest.mark.parametrize('runner_type', ['SemiRunner', None])
def test_plain_loader_as_in_mmengine(runner_type, data, tmp_path):
    cfg = config(data, tmp_path / 'a', sup_only(), max_iters=1, auto_scale_lr=SCALE)
    cfg.train_dataloader = dict(
        cfg.train_dataloader.labeled, sampler=dict(type='InfiniteSampler')
    )
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
    if runner_type is None:
        cfg.pop('runner_type')
    runner = train(cfg)
    assert learning_rate(runner) == pytest.approx([0.1 * 2 / 10])


def test_plain_runner_cannot_scale(data, tmp_path):
    cfg = config(data, tmp_path / 'a', auto_scale_lr=SCALE)
    cfg.pop('runner_type')
    with pytest.raises(ValueError, match="set runner_type='SemiRunner'"):
        train(cfg)


def test_checkpoints_of_an_earlier_run_are_set_aside(data, tmp_path):
    folder = tmp_path / 'run'
    cfg = config(data, folder, sup_only(), max_iters=2)
    cfg.default_hooks.checkpoint.interval = 1
    train(cfg)
    (folder / 'weights.pth').write_bytes(b'of the user')
    old = (folder / 'iter_2.pth').read_bytes()
    cfg.train_cfg.max_iters = 1
    cfg.load_from = str(folder / 'iter_1.pth')
    train(cfg)
    assert sorted(p.name for p in folder.glob('*.pth')) == ['iter_1.pth', 'weights.pth']
    (aside,) = folder.glob('before_*')
    assert sorted(p.name for p in aside.iterdir()) == ['iter_2.pth', 'last_checkpoint']
    assert (aside / 'iter_2.pth').read_bytes() == old
    cfg = config(data, folder, sup_only(), max_iters=2, resume='auto')
    assert train(cfg).iter == 2
    assert len(list(folder.glob('before_*'))) == 1


def test_layer_wise_decay_reaches_the_student(data, tmp_path):
    student = tiny_student()
    student['backbone'] = dict(
        type='BEiT',
        img_size=(32, 32),
        patch_size=8,
        embed_dims=8,
        num_layers=2,
        num_heads=2,
        out_indices=(1,),
    )
    cfg = config(data, tmp_path / 'a', dict(mean_teacher(), student=student), 1)
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    cfg.optim_wrapper = dict(
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
        constructor='LearningRateDecayOptimizerConstructor',
        paramwise_cfg=dict(decay_rate=0.5, decay_type='layer_wise', num_layers=2),
    )
    runner = train(cfg)
    rates = {
        name: group['lr']
        for group in runner.optim_wrapper.optimizer.param_groups
        for name in group['param_names']
    }
    place = 'pairs.0.student.'
    assert rates[f'{place}backbone.layers.1.ln1.weight'] == pytest.approx(0.05)
    assert rates[f'{place}backbone.layers.0.ln1.weight'] == pytest.approx(0.025)
    assert rates[f'{place}decode_head.conv_seg.weight'] == pytest.approx(0.1)
    assert len(rates) == len(list(runner.model.student.parameters()))
    assert runner.iter == 1


def test_a_stream_of_one_image_before_pooling_is_refused_at_the_start(data, tmp_path):
    cfg = config(data, tmp_path / 'a')
    head = dict(cfg.model.student.decode_head, type='PSPHead', pool_scales=(1, 2))
    cfg.model.student.decode_head = head
    del cfg.model.student.decode_head['num_convs']
    cfg.train_dataloader.unlabeled.batch_size = 1
    with pytest.raises(
        ValueError, match=r"stream 'unlabeled' has batch_size=1.*PSPHead"
    ):
        train(cfg)
    cfg.train_dataloader.unlabeled.batch_size = 2
    cfg.work_dir = str(tmp_path / 'b')
    assert train(cfg).iter == 4


def test_epochs_of_the_base_are_refused_with_what_to_write(data, tmp_path):
    cfg = config(data, tmp_path / 'a')
    cfg.train_cfg = dict(type='SemiTrainLoop', max_epochs=3, val_interval=1)
    message = r'max_epochs=3.*_delete_=True, type=.SemiTrainLoop., max_iters'
    with pytest.raises(ValueError, match=message):
        train(cfg)


@pytest.mark.parametrize(('value', 'calls'), [(None, 0), (False, 0), (True, 1)])
def test_freed_memory_is_kept_where_a_setting_asks(
    value, calls, data, tmp_path, monkeypatch
):
    asked = []
    place = 'mmsemiseg.engine.runner.runner.keep_freed_memory'
    monkeypatch.setattr(place, lambda: asked.append(1))
    monkeypatch.setattr('mmsemiseg.engine.runner.runner.get_device', lambda: 'cpu')
    cfg = config(data, tmp_path / 'run', sup_only())
    if value is not None:
        cfg.env_cfg = dict(keep_freed_memory=value)
    build(cfg)
    assert len(asked) == calls


def test_wrong_choice_of_freed_memory(data, tmp_path):
    cfg = config(data, tmp_path / 'run', sup_only())
    cfg.env_cfg = dict(keep_freed_memory='yes')
    message = "env_cfg.keep_freed_memory must be True or False, but got 'yes'"
    with pytest.raises(ValueError, match=message):
        build(cfg)


@pytest.mark.parametrize('settings', [dict(num_workers=0), {}])
def test_loaders_without_workers_keep_none(settings):
    """`--cfg-options val_dataloader.num_workers=0` is enough."""
    loader = SemiRunner.build_dataloader(
        dict(
            dataset=list(range(3)),
            batch_size=1,
            persistent_workers=True,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
            **settings,
        )
    )
    assert [int(batch) for batch in loader] == [0, 1, 2]


def test_hooks_that_the_runner_adds_take_settings_alone(data, tmp_path):
    cfg = config(data, tmp_path / 'a', max_iters=1)
    cfg.default_hooks.update(advice=dict(max_lag=3.0), predictions=None)
    hooks = {type(hook).__name__: hook for hook in build(cfg).hooks}
    assert hooks['AdviceHook'].max_lag == 3.0
    assert 'PredictionFilesHook' not in hooks
