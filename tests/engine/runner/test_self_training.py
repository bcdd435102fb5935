import json
import os
import shutil

import numpy as np
import pytest
import torch
from helpers import spread
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmseg.registry import DATASETS
from PIL import Image
from tiny_run import build, config, differing, sup_only, write_data

from mmsemiseg.engine.runner import SelfTrainingRunner, mask_writer
from mmsemiseg.engine.runner.runner import SemiRunner
from mmsemiseg.utils.tool_settings import use_tta


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'), size=(32, 40))


def self_training(data, work_dir, resume=False, **settings):
    """Config: 3 iterations a stage, a checkpoint after each iteration."""
    cfg = config(data, work_dir, sup_only(), max_iters=3)
    cfg.runner_type = 'SelfTrainingRunner'
    cfg.train_dataloader.pop('unlabeled')
    cfg.default_hooks.checkpoint.update(interval=1, max_keep_ckpts=1)
    resized = dict(type='Resize', scale_factor=0.5)
    cfg.val_dataloader.dataset.pipeline.insert(1, resized)
    cfg.resume = resume
    unlabeled = dict(
        type='UnlabeledDataset', data_root=str(data), images='unlabeled/images'
    )
    cfg.self_training = dict(unlabeled=unlabeled, batch_size=1, **settings)
    return cfg


def train(cfg):
    return build(cfg).train()


def masks(work_dir):
    """{name: array} of all PNG files."""
    files = sorted((work_dir / 'pseudo_masks').glob('*.png'))
    return {file.name: np.asarray(Image.open(file)) for file in files}


def final(work_dir):
    """Everything that a run leaves: masks, index, weights of both stages."""
    index = (work_dir / 'pseudo_masks/index.json').read_text()
    weights = [
        torch.load(work_dir / stage / 'iter_3.pth', weights_only=False)['state_dict']
        for stage in ('teacher', 'student')
    ]
    return masks(work_dir), index, weights


def assert_same(one, other):
    assert one[1] == other[1]
    assert one[0].keys() == other[0].keys()
    for name, mask in one[0].items():
        np.testing.assert_array_equal(mask, other[0][name], name)
    for mine, theirs in zip(one[2], other[2], strict=True):
        assert differing(mine, theirs) == []


@pytest.fixture(scope='module')
def whole(data, tmp_path_factory):
    """(work_dir, model) of an uninterrupted run."""
    work_dir = tmp_path_factory.mktemp('whole')
    return work_dir, train(self_training(data, work_dir))


def test_three_folders(whole):
    work_dir, _ = whole
    assert sorted(p.name for p in work_dir.iterdir() if p.is_dir()) == [
        'pseudo_masks',
        'student',
        'teacher',
    ]
    names = sorted(os.listdir(work_dir / 'pseudo_masks'))
    assert names == ['index.json', *(f'u{i}.png' for i in range(4))]


def test_masks_are_the_predictions_at_original_size(data, whole):
    work_dir, _ = whole
    cfg = self_training(data, work_dir)
    model = SemiRunner.from_cfg(
        Config(dict(cfg, work_dir=f'{work_dir}/x'))
    ).model.eval()
    saved = torch.load(work_dir / 'teacher/iter_3.pth', weights_only=False)
    model.load_state_dict(saved['state_dict'])
    pipeline = [
        s for s in cfg.val_dataloader.dataset.pipeline if 'Ann' not in s['type']
    ]
    images = DATASETS.build(dict(cfg.self_training.unlabeled, pipeline=pipeline))
    assert images[0]['inputs'].shape == (3, 16, 20)
    for number, mask in enumerate(masks(work_dir).values()):
        assert mask.shape == (32, 40)
        prediction = model.test_step(pseudo_collate([images[number]]))[0]
        np.testing.assert_array_equal(mask, prediction.pred_sem_seg.data[0].numpy())


def test_pixels_below_the_threshold_are_ignored(data, tmp_path):
    runner = build(self_training(data, tmp_path / 'a'))
    stage = runner._runner('teacher', runner.cfg)
    spread(stage.model.student)
    loader = runner._label_loader(stage)
    stage.model.eval()
    with torch.no_grad():
        samples = [stage.model.test_step(batch)[0] for batch in loader]
    logits = torch.stack([sample.seg_logits.data for sample in samples])
    confidence = logits.softmax(1).amax(1)
    threshold = confidence.median().item()
    mask_writer.write_masks(stage.model, loader, runner.index, 'student', threshold)
    expected = logits.argmax(1).masked_fill(confidence < threshold, 255)
    found = np.stack(list(masks(tmp_path / 'a').values()))
    np.testing.assert_array_equal(found, expected.numpy())
    assert 0.4 < (found == 255).mean() < 0.6


def test_the_threshold_reaches_the_writer(data, tmp_path):
    train(self_training(data, tmp_path / 'a', threshold=1.0))
    assert all((mask == 255).all() for mask in masks(tmp_path / 'a').values())


def test_masks_keep_the_sub_folders(data, tmp_path):
    for folder in ('a', 'b/c'):
        (tmp_path / 'new' / folder).mkdir(parents=True)
        shutil.copy(data / 'val/images/v0.png', tmp_path / 'new' / folder / 'v.png')
    cfg = self_training(data, tmp_path / 'run')
    cfg.self_training.unlabeled.update(data_root=str(tmp_path), images='new')
    runner = build(cfg)
    stage = runner._runner('teacher', cfg)
    mask_writer.write_masks(stage.model, runner._label_loader(stage), runner.index)
    pairs = json.loads((tmp_path / 'run/pseudo_masks/index.json').read_text())
    assert [pair['seg_map_path'] for pair in pairs] == ['a/v.png', 'b/c/v.png']
    assert all(
        (tmp_path / 'run/pseudo_masks' / p['seg_map_path']).exists() for p in pairs
    )


def test_two_images_of_one_mask_are_refused_before_training(data, seen, tmp_path):
    for name in ('v.png', 'v.jpg'):
        shutil.copy(data / 'val/images/v0.png', tmp_path / name)
    cfg = self_training(data, tmp_path / 'run')
    images = dict(type='FolderSegDataset', data_root=str(tmp_path))
    cfg.self_training.unlabeled = dict(images, data_prefix=dict(img_path=''))
    with pytest.raises(ValueError, match='v.png that of .*v.jpg'):
        train(cfg)
    assert seen[0].streams == []


def test_reduce_zero_label_is_of_the_labels_alone(data, tmp_path, monkeypatch):
    """A run that died between its stages goes on with masks of class numbers."""

    def cfg(**settings):
        made = self_training(data, tmp_path / 'run', **settings)
        for part in (made.train_dataloader.labeled, made.val_dataloader):
            part.dataset.reduce_zero_label = True
            part.dataset.pipeline = [
                dict(step, reduce_zero_label=True)
                if step['type'] == 'LoadAnnotations'
                else step
                for step in part.dataset.pipeline
            ]
        return made

    run = SelfTrainingRunner._runner

    def stops(self, stage, cfg):
        if stage == 'student':
            raise Stop
        return run(self, stage, cfg)

    with monkeypatch.context() as patch:
        patch.setattr(SelfTrainingRunner, '_runner', stops)
        with pytest.raises(Stop):
            train(cfg())
    mask = np.repeat([[0], [1]] * 16, 40, axis=1).astype(np.uint8)
    for number in range(4):
        Image.fromarray(mask).save(tmp_path / f'run/pseudo_masks/u{number}.png')
    runner = build(cfg(resume=True))
    student = runner._student_cfg(runner.index)
    sample = DATASETS.build(student.train_dataloader.pseudo.dataset)[0]['data_samples']
    np.testing.assert_array_equal(sample.gt_sem_seg.data[0], mask)
    runner.train()
    assert (tmp_path / 'run/student/iter_3.pth').is_file()


def test_confidence_of_one_channel():
    probs = torch.tensor([[[0.1, 0.6]]])
    torch.testing.assert_close(
        mask_writer._confidence(probs), torch.tensor([[0.9, 0.6]])
    )
    logits = torch.tensor([2.0, 0.0]).reshape(2, 1, 1)
    assert mask_writer._confidence(logits).item() == pytest.approx(0.8808, abs=1e-4)


class Seen(Hook):
    def __init__(self):
        self.streams = []

    def before_train(self, runner):
        self.start = {k: v.clone() for k, v in runner.model.state_dict().items()}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.streams.append({n: len(part['inputs']) for n, part in data_batch.items()})
        self.outputs = outputs
        self.pseudo = data_batch.get('pseudo')


@pytest.fixture
def seen(monkeypatch):
    """One hook for each stage that is built."""
    hooks = []
    build_runner = SelfTrainingRunner._runner

    def with_hook(self, stage, cfg):
        runner = build_runner(self, stage, cfg)
        hooks.append(Seen())
        runner.register_hook(hooks[-1])
        return runner

    monkeypatch.setattr(SelfTrainingRunner, '_runner', with_hook)
    return hooks


def test_second_stage_starts_anew_on_both_streams(data, seen, tmp_path):
    strong = [dict(type='PhotoMetricDistortion')]
    train(self_training(data, tmp_path / 'a', strong=strong))
    teacher, student = seen
    assert teacher.streams == [dict(labeled=2)] * 3
    assert student.streams == [dict(labeled=2, pseudo=1)] * 3
    assert differing(teacher.start, student.start) == []
    assert {'sup.decode.loss_ce', 'pseudo.decode.loss_ce'} <= set(student.outputs)
    sample = student.pseudo['data_samples'][0]
    assert sample.seg_map_path.startswith(str(tmp_path / 'a/pseudo_masks'))
    assert sample.gt_sem_seg.data.shape[1:] == (32, 40)


def test_a_scaled_learning_rate_counts_the_images_of_each_stage(data, tmp_path):
    """The base counts both streams; at twice the base both have twice the rate."""
    scale = dict(enable=True, base_batch_size=1.5)
    cfg = self_training(data, tmp_path / 'a')
    cfg.auto_scale_lr = scale
    runner = build(cfg)
    rates = []
    for stage, part in (
        ('teacher', runner._teacher_cfg()),
        ('student', runner._student_cfg('index.txt')),
    ):
        labeled = part.train_dataloader.labeled.batch_size
        images = labeled if stage == 'teacher' else labeled + 1
        rates.append(images / part.auto_scale_lr.base_batch_size)
    assert rates == [2, 2]
    assert runner.cfg.auto_scale_lr == scale
    cfg.pop('auto_scale_lr')
    assert 'auto_scale_lr' not in build(cfg)._teacher_cfg()


def test_each_stage_has_its_own_visualizer(data, whole):
    cfg = self_training(data, whole[0])
    cfg.visualizer = dict(
        type='SegLocalVisualizer',
        name='visualizer',
        vis_backends=[dict(type='LocalVisBackend')],
    )
    runner = build(cfg)
    for stage in ('teacher', 'student'):
        visualizer = runner._runner(stage, cfg).visualizer
        folder = visualizer.get_backend('LocalVisBackend')._save_dir
        assert f'/{stage}/' in folder


# Stopped and resumed


class Stop(Exception):
    pass


def stopped_training(monkeypatch, stage, iteration):
    run_iter = SemiRunner.call_hook

    def call_hook(self, name, **arguments):
        run_iter(self, name, **arguments)
        if name == 'after_train_iter' and self.work_dir.endswith(stage):
            if self.iter + 1 == iteration:
                raise Stop

    monkeypatch.setattr(SemiRunner, 'call_hook', call_hook)


def stopped_writing(monkeypatch, count):
    """Killed while the next PNG is being written: half of it is there."""
    write = mask_writer._write
    written = []

    def limited(path, content):
        written.append(path)
        if len(written) > count:
            with open(f'{path}.0.part', 'wb') as file:
                file.write(content[:20])
            raise Stop
        write(path, content)

    monkeypatch.setattr(mask_writer, '_write', limited)


@pytest.mark.parametrize(
    'where',
    ['teacher', 'masks', 'student'],
)
def test_resumed_run_ends_the_same(where, data, whole, tmp_path, monkeypatch):
    work_dir = tmp_path / 'run'
    with monkeypatch.context() as patch:
        if where == 'masks':
            stopped_writing(patch, 2)
        else:
            stopped_training(patch, where, 2)
        with pytest.raises(Stop):
            train(self_training(data, work_dir))
    there = masks(work_dir)
    assert len(there) == dict(teacher=0, masks=2, student=4)[where]
    assert (work_dir / 'pseudo_masks/index.json').is_file() == (where == 'student')
    train(self_training(data, work_dir, resume=True))
    assert_same(final(work_dir), final(whole[0]))


def test_a_failing_write_leaves_no_png(tmp_path, monkeypatch):
    monkeypatch.setattr(mask_writer.os, 'replace', raise_stop)
    with pytest.raises(Stop):
        mask_writer._write(str(tmp_path / 'a.png'), b'abc')
    assert not (tmp_path / 'a.png').exists()


def raise_stop(*args):
    raise Stop


def test_without_resume_it_starts_over(data, tmp_path, monkeypatch):
    work_dir = tmp_path / 'run'
    train(self_training(data, work_dir))
    for file in (work_dir / 'pseudo_masks').glob('*.png'):
        Image.fromarray(np.full((32, 40), 255, np.uint8)).save(file)
    with monkeypatch.context() as patch:
        stopped_training(patch, 'teacher', 1)
        with pytest.raises(Stop):
            train(self_training(data, work_dir))
    # of the earlier run nothing is left that a resumed one could go on from
    assert not (work_dir / 'pseudo_masks').exists()
    assert not (work_dir / 'student/last_checkpoint').exists()


def test_a_checkpoint_is_tested(data, whole):
    cfg = self_training(data, whole[0])
    cfg.load_from = str(whole[0] / 'student/iter_3.pth')
    assert set(build(cfg).test()) == {'aAcc', 'mIoU', 'mAcc'}
    use_tta(cfg)
    assert set(build(cfg).test()) == {'aAcc', 'mIoU', 'mAcc'}


# Settings


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda c: c.pop('self_training'), "self_training needs 'unlabeled'"),
        (
            lambda c: c.self_training.update(confidence=1),
            r"but has \['batch_size', 'con",
        ),
        (
            lambda c: c.self_training.update(threshold=2),
            r'in \[0, 1\] or None, but got 2',
        ),
        (lambda c: c.model.update(type='MeanTeacher'), "model.type is 'MeanTeacher'"),
        (lambda c: c.pop('val_dataloader'), 'reads val_dataloader.dataset.pipeline'),
        (
            lambda c: c.train_dataloader.pop('labeled'),
            'reads train_dataloader.labeled.dataset.pipeline',
        ),
        (
            lambda c: c.update(resume=True, load_from='x.pth'),
            "not from 'x.pth': set resume='auto'",
        ),
    ],
)
def test_wrong_settings(change, message, data, tmp_path):
    cfg = self_training(data, tmp_path / 'a')
    change(cfg)
    with pytest.raises(ValueError, match=message):
        build(cfg)


def test_unknown_network_is_refused_before_training(data, seen, tmp_path):
    with pytest.raises(ValueError, match=r"\['student', 'mean'\], but got 'teacher'"):
        train(self_training(data, tmp_path / 'a', network='teacher'))
    assert seen[0].streams == []
