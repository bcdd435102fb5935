import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
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
    cfg = written(method, default_student(True), precision='bf16', backbone_rate=0.2)
    assert cfg.model.student.backbone.init_cfg is None
    model = MODELS.build(cfg.model)
    assert type(model).__name__ == method.name
    assert method.best in model.networks
    streams = ['labeled', 'unlabeled'] if method.uses_unlabeled else ['labeled']
    assert list(cfg.train_dataloader) == streams
    assert cfg.train_dataloader.labeled.batch_size == 2
    assert (cfg.train_cfg.max_iters, cfg.train_cfg.val_interval) == (7, 4)
    assert cfg.optim_wrapper.type == 'Bf16OptimWrapper'
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.2
    assert cfg.randomness.seed == 5
    assert cfg.default_hooks.checkpoint.save_best == f'{method.best}/mIoU'
    sizes = {n: len(DATASETS.build(x.dataset)) for n, x in cfg.train_dataloader.items()}
    assert list(sizes.values()) == [4, 2][: len(sizes)]
    item = DATASETS.build(cfg.val_dataloader.dataset)[0]
    assert item['inputs'].shape[1:] == (64, 96)


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


def test_base_paths(tmp_path):
    path = base_path('default_runtime.py', str(tmp_path))
    assert path.startswith('/')
    with pytest.raises(FileNotFoundError, match='no configs/_base_/nothing'):
        base_path('nothing.py', str(tmp_path))
