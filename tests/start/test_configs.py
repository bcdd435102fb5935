import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from op_heads import MISSING, needs_ops
from start_data import write_folders

from mmsemiseg.start.configs import base_path, data_text, method_text, student_text
from mmsemiseg.start.methods import BASELINE, METHODS
from mmsemiseg.start.options import Options
from mmsemiseg.start.plan import Plan
from mmsemiseg.start.reading import read_data
from mmsemiseg.start.students import default_student, own_student


@pytest.fixture
def written(tmp_path, monkeypatch):
    """``written(method, student)`` writes the configs and reads that of the method."""
    monkeypatch.chdir(tmp_path)
    options = Options(images='photos', masks='gt')
    write_folders(tmp_path)
    data = read_data(options, 'out', lambda text: None)
    (tmp_path / 'out/configs').mkdir()

    def write(method, student, **settings):
        plan = Plan(side=96, crop=(64, 64), batch=2, iterations=7, val_interval=4)
        plan.workers, plan.warmup = 0, 2
        for name, value in settings.items():
            setattr(plan, name, value)
        folder = tmp_path / 'out/configs'
        text = data_text(data.table, data.files, data.counts, plan, student.mean)
        (folder / 'data.py').write_text(text)
        if student.model is not None:
            (folder / 'student.py').write_text(student_text(student))
        text = method_text(method, student, plan, 2, 'out/configs', 5)
        (folder / 'method.py').write_text(text)
        assert max(map(len, text.splitlines())) <= 110
        return Config.fromfile('out/configs/method.py')

    return write


@pytest.mark.parametrize('method', [BASELINE, *METHODS.values()], ids=lambda m: m.name)
def test_configs_build(written, method):
    if method.masks and MISSING is not None:
        pytest.skip(f'no mmdet: {MISSING}')
    student = default_student(True, method.masks)
    cfg = written(method, student, precision='bf16', backbone_rate=0.2)
    assert cfg.model.student.backbone.init_cfg is None
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == method.name
    assert method.best in model.networks
    head = type(model.student.decode_head).__name__
    assert (head == 'MaskFormerHead') is method.masks
    streams = ['labeled'] if method is BASELINE else ['labeled', 'unlabeled']
    assert sorted(cfg.train_dataloader) == streams
    assert streams[1:] == [n for n in model.reads_streams[0] if n == 'unlabeled']
    assert model.num_classes == 2
    assert cfg.train_dataloader.labeled.batch_size == 2
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (7, 4)
    assert cfg.optim_wrapper.type == 'Bf16OptimWrapper'
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.2
    assert cfg.randomness.seed == 5
    assert cfg.default_hooks.checkpoint.save_best == f'{method.best}/mIoU'
    advice = None if method is BASELINE else dict(baseline='out/sup-only')
    assert cfg.default_hooks.get('advice') == advice
    sets = {n: DATASETS.build(cfg.train_dataloader[n].dataset) for n in streams}
    assert [len(found) for found in sets.values()] == [4, 2][: len(sets)]
    for found in sets.values():
        item = found[0]
        views = [item] if 'inputs' in item else item.values()
        assert {tuple(view['inputs'].shape) for view in views} == {(3, 64, 64)}
    item = DATASETS.build(cfg.val_dataloader.dataset)[0]
    assert item['inputs'].shape[1:] == (64, 96)


@pytest.mark.parametrize('crop', [(96, 64), (64, 96)])
def test_oblong_crops_are_not_padded(written, crop):
    cfg = written(METHODS['MeanTeacher'], default_student(True), crop=crop)
    for name in ('labeled', 'unlabeled'):
        item = DATASETS.build(cfg.train_dataloader[name].dataset)[0]
        views = [item] if 'inputs' in item else item.values()
        assert {tuple(view['inputs'].shape[1:]) for view in views} == {crop}


@pytest.mark.parametrize(
    ('iterations', 'fast_heads', 'share', 'length'),
    [(400, False, 0.8, 400), (5000, False, 0.8, 1000), (500, True, 0.6, 100)],
)
def test_pseudo_labels_of_a_young_teacher_count_little(
    written, iterations, fast_heads, share, length
):
    plan = dict(iterations=iterations, fast_heads=fast_heads)
    cfg = written(METHODS['MeanTeacher'], default_student(True), **plan)
    loss = cfg.model.pseudo_loss
    assert loss.ramp_up == dict(kind='exp', length=length)
    assert (loss.threshold, loss.class_share) == (None, share)


@pytest.mark.parametrize('name', ['MeanTeacher', 'CTT'])
def test_teachers_of_short_runs_are_quick(written, name):
    cfg = written(METHODS[name], default_student(True), iterations=300)
    assert cfg.custom_hooks[0].decay == 0.93
    cfg = written(METHODS[name], default_student(True), iterations=1000)
    assert cfg.custom_hooks[0].decay == 0.99


@needs_ops
def test_the_baseline_of_a_maskformer_is_one(written):
    model = MODELS.build(written(BASELINE, default_student(True, True)).model)
    assert type(model.student.decode_head).__name__ == 'MaskFormerHead'
    assert model.num_classes == 2


@pytest.mark.parametrize('name', ['CAC', 'CMB'])
def test_methods_with_a_network_of_the_users(written, tmp_path, name):
    path = tmp_path / 'mine.py'
    path.write_text(
        'model = dict(type="EncoderDecoder", backbone=dict(type="EfficientNetLite", '
        'arch="lite0", out_indices=(1, 2, 4, 6)), decode_head=dict(type="FCNHead", '
        'in_channels=320, in_index=3, channels=8, num_classes=19))\n'
    )
    cfg = written(METHODS[name], own_student(str(path), 2, (64, 64), None, False))
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == name
    assert model.contrast.start == 2
    if name == 'CAC':
        crops = cfg.train_dataloader.unlabeled.dataset.pipeline[1]
        assert crops.stride == 32  # of which every stride of features is a divisor
        assert model.contrast.bank is None
    else:
        assert model.class_balance is None
        assert model.mix_start == 2


def test_a_network_of_the_users(written, tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        "custom_imports = dict(imports=['json'])\n"
        'model = dict(type="EncoderDecoder", backbone=dict(type="EfficientNetLite", '
        'arch="lite0", out_indices=(1, 2, 4, 6)), decode_head=dict(type="FCNHead", '
        'in_channels=320, in_index=3, channels=8, num_classes=19))\n'
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.3))\n"
    )
    student = own_student(str(path), 2, (64, 64), None, False)
    cfg = written(METHODS['MeanTeacher'], student, precision='fp16')
    model = MODELS.build(cfg.model)
    assert model.num_classes == 2
    assert cfg.custom_imports.imports == ['mmsemiseg', 'json']
    assert cfg.optim_wrapper.optimizer.lr == 0.3
    assert cfg.optim_wrapper.loss_scale == 'dynamic'
    assert cfg.model.data_preprocessor['size'] == (64, 64)


def test_what_begins_late_is_measured(written):
    student = default_student(True)
    late = written(METHODS['CMB'], student, iterations=40)
    assert late.model.contrast.start == late.model.mix_start == 2
    measured = written(METHODS['CMB'], student, iterations=40, measuring=True)
    assert measured.model.contrast.start == measured.model.mix_start == 1
    assert measured.train_cfg == late.train_cfg


def test_base_paths(tmp_path):
    path = base_path('default_runtime.py', str(tmp_path))
    assert path.startswith('/')
    with pytest.raises(FileNotFoundError, match='no configs/_base_/nothing'):
        base_path('nothing.py', str(tmp_path))
