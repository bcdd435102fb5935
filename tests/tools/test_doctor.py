import json
import shutil

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from tiny_run import config, write_data

from mmsemiseg.doctor import examination
from mmsemiseg.start.probe import Probe


@pytest.fixture
def data(tmp_path):
    return write_data(tmp_path / 'data', labeled=4, unlabeled=6, val=3)


@pytest.fixture
def doctor(load_tool, data, tmp_path, capsys):
    """``doctor(*words, **settings)`` -> (status, page), without a dry run."""
    tool = load_tool('doctor')

    def call(*words, change=None, run=False, **settings):
        settings = dict(max_iters=40) | settings
        cfg = config(data, tmp_path / 'run', **settings)
        if change is not None:
            change(cfg)
        cfg.dump(tmp_path / 'my.py')
        words = [str(tmp_path / 'my.py'), *words, *([] if run else ['--no-run'])]
        with DefaultScope.overwrite_default_scope('mmseg'):
            status = tool.main(words)
        return status, ' '.join(capsys.readouterr().out.split())

    return call


def test_a_good_config(doctor, tmp_path):
    status, text = doctor('--json', str(tmp_path / 'found.json'))
    assert status == 0 and 'Nothing forbids this training.' in text
    for part in (
        'labeled 4 images, 4 masks; 32 x 32',
        'unlabeled 6 images; 32 x 32',
        'val 3 images, 3 masks',
        'class: images, pixels',
        'model MeanTeacher',
        '2 images a step, 20.0 passes over its images',
        '40 iterations, 1 validations',
        'left out: --no-run',
        '0 errors',
    ):
        assert part in text
    stored = json.loads((tmp_path / 'found.json').read_text())
    assert stored['errors'] == 0
    assert {f['level'] for f in stored['findings']} <= {'warning', 'note'}
    assert not (tmp_path / 'run').exists()


def test_steps_are_done_and_the_duration_is_predicted(doctor, tmp_path):
    status, text = doctor(run=True)
    assert status == 0, text
    assert 'the mean of 2 steps after one to warm up' in text
    assert 'training about' in text and '40 steps' in text and '1 validation ' in text
    assert not (tmp_path / 'run').exists()


def wrong_classes(cfg):
    cfg.model.student.decode_head.num_classes = 2


def no_folder(cfg):
    cfg.train_dataloader.unlabeled.dataset.images = 'nowhere'


def no_teacher_hook(cfg):
    cfg.custom_hooks = []


def other_metric(cfg):
    cfg.default_hooks.checkpoint.save_best = 'teacher/mIou'


def unknown_type(cfg):
    cfg.optim_wrapper.optimizer.type = 'AdmW'


def head_without_type(cfg):
    cfg.model.student.auxiliary_head = dict(num_classes=3)


def no_weights(cfg):
    cfg.model.student.backbone.init_cfg = dict(type='Pretrained', checkpoint='no.pth')


@pytest.mark.parametrize(
    ('change', 'texts'),
    [
        (wrong_classes, ['model.student.decode_head has 2 classes', 'num_classes=3']),
        (no_folder, ["stream 'unlabeled' cannot be built", 'nowhere']),
        (no_teacher_hook, ['no hook moves it', 'MeanTeacherHook']),
        (other_metric, ["'mIou'", "did you mean 'mIoU'?"]),
        (unknown_type, ["'AdmW'", "'AdamW'"]),
        (head_without_type, ['model.student.auxiliary_head has no type']),
        (no_weights, ['no.pth', 'is not a file']),
    ],
)
def test_an_error(doctor, change, texts):
    status, text = doctor(change=change)
    assert status == 1 and 'ERROR' in text and 'forbid' in text
    for part in texts:
        assert part in text


def test_all_mistakes_at_once(doctor):
    def change(cfg):
        for one in (wrong_classes, no_folder, no_teacher_hook, other_metric):
            one(cfg)

    status, text = doctor(change=change)
    assert status == 1
    for part in ('has 2 classes', 'nowhere', 'no hook moves it', "'mIou'"):
        assert part in text
    assert text.count('ERROR') == 4


def test_a_validation_image_among_the_unlabeled(doctor, data):
    folder = data / 'unlabeled/images'
    shutil.copy(data / 'val/images/v0.png', folder / 'copy.png')
    pixels = np.asarray(Image.open(data / 'val/images/v1.png')).astype(int)
    Image.fromarray(np.clip(pixels + 1, 0, 255).astype(np.uint8)).save(
        folder / 'near.png'
    )
    status, text = doctor()
    assert status == 0
    assert '1 images have the same content' in text and 'copy.png' in text
    assert "1 of 8 images of the stream 'unlabeled' are nearly equal" in text
    assert 'near.png' in text
    assert doctor('--strict')[0] == 1
    assert 'near.png' not in doctor('--quick')[1]


def test_black_and_white_masks(doctor, data):
    for path in (data / 'labeled/masks').iterdir():
        Image.fromarray(np.asarray(Image.open(path)) // 2 * 255).save(path)
    text = doctor()[1]
    assert 'are these 0/255 masks?' in text


def test_images_below_the_crop(doctor):
    def change(cfg):
        crop = dict(type='RandomCrop', crop_size=(64, 64))
        cfg.train_dataloader.labeled.dataset.pipeline.insert(2, crop)

    text = doctor(change=change)[1]
    assert '4 of 4 images are, once resized, smaller than crop_size=(64, 64)' in text
    assert '75% of what is trained on is padding' in text


def test_crops_padded_by_swapped_sides(doctor):
    def change(cfg):
        steps = cfg.train_dataloader.labeled.dataset.pipeline
        steps.insert(2, dict(type='RandomCrop', crop_size=(16, 32)))
        steps.insert(3, dict(type='Pad', size=(16, 32)))

    text = doctor(change=change)[1]
    assert 'size=(16, 32) (width, height), larger than crop_size=(16, 32)' in text
    assert '50% of what is trained on is padding' in text
    assert 'Set size=(32, 16) in Pad' in text


def test_numbers_that_do_not_fit(doctor):
    def change(cfg):
        cfg.train_dataloader.labeled.batch_size = 8
        cfg.model.pseudo_loss.threshold = 0.2
        cfg.custom_hooks[0].decay = 0.999
        cfg.param_scheduler = [dict(type='PolyLR', by_epoch=False, end=10)]

    status, text = doctor(change=change)
    assert status == 0
    for part in (
        "train_dataloader.labeled.batch_size=8, but the stream 'labeled' has 4 images",
        'model.pseudo_loss.threshold=0.2 keeps every pixel',
        'custom_hooks[0].decay=0.999',
        'PolyLR ends at iteration 10, but the run at 40',
    ):
        assert part in text


def test_what_takes_more_than_there_is(doctor, monkeypatch):
    huge = Probe(1.0, 0.1, 2.0, 2**50, size=2**50, counted=2)
    monkeypatch.setattr(examination.dry_run, 'probe', lambda *_: huge)
    status, text = doctor(run=True)
    assert status == 1
    assert 'WARNING a step takes' in text and 'of the disk are free' in text


def test_a_config_without_validation(doctor):
    def change(cfg):
        for name in ('val_dataloader', 'val_evaluator', 'val_cfg'):
            cfg[name] = None

    text = doctor(change=change)[1]
    assert 'val_dataloader is not set' in text


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--steps', '0'], '--steps must be at least 1, but got 0'),
        (['--json', 'no/such/folder.json'], '--json no/such/folder.json must be'),
        (['--cfg-options', 'max_iters=3'], 'changes nothing'),
    ],
)
def test_wrong_arguments(doctor, words, message):
    with pytest.raises(ValueError, match=message):
        doctor(*words)


def test_what_is_no_config(load_tool, tmp_path):
    tool = load_tool('doctor')
    (tmp_path / 'empty.py').write_text('')
    (tmp_path / 'bad.py').write_text('model = (')
    for name, message in dict(
        nothing='there is no file', bad='cannot be read', empty='has no train_'
    ).items():
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            tool.main([str(tmp_path / f'{name}.py')])
