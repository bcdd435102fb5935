"""CAC: its step, its warm-up, all heads."""

import copy

import pytest
import torch
from cac_crops import SIZE, cells_of, crop_pair, random_pair
from helpers import batch, build, frozen_copy, student_cfg, total
from mmengine.config import ConfigDict
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.models import CAC
from mmsemiseg.models.adapter import SegmentorAdapter

BANK = dict(num_negatives=10, bank=dict(steps=2))


def student_at_8():
    """Features at stride 8."""
    return student_cfg(backbone=dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 2)))


def make(views=('view1', 'view2'), **contrast):
    contrast = {'threshold': None, 'projector': dict(channels=6), **contrast}
    cfg = dict(type='CAC', student=student_at_8(), contrast=contrast, views=views)
    return build(cfg).train()


def streams(views, names=('view1', 'view2'), size=SIZE):
    unlabeled = dict(zip(names, views, strict=True))
    return dict(labeled=batch(2, size=size), unlabeled=unlabeled)


# Warm-up


@pytest.mark.parametrize('projector', [dict(channels=6), None])
def test_nothing_before_the_start(projector, monkeypatch):
    model = make(start=5, projector=projector, **BANK)
    calls = []
    forward = SegmentorAdapter.__call__
    monkeypatch.setattr(
        SegmentorAdapter,
        '__call__',
        lambda *a, **k: calls.append(1) or forward(*a, **k),
    )
    for iteration, started in ((0, False), (4, False), (5, True), (6, True)):
        now = property(lambda self, value=iteration: value)
        monkeypatch.setattr(CAC, 'iteration', now)
        losses = model.loss(streams(random_pair(5)))
        assert (losses['loss_dc'] > 0) == started
        assert bool(calls) == ('memory' in model.step_outputs) == started
        if started or not projector:
            continue
        losses['loss_dc'].backward()
        assert all(
            param.grad.eq(0).all() for param in model.contrast.projector.parameters()
        )
        assert all(param.grad is None for param in model.student.parameters())


def test_the_labeled_stream_is_the_students_own_loss():
    model = make()
    labeled = batch(2, size=SIZE)
    losses = model.loss(dict(streams(random_pair(5)), labeled=labeled))
    assert {'sup.decode.loss_ce', 'loss_dc', 'dc_selected'} <= set(losses)
    expected = model.student.loss(*labeled)['decode.loss_ce']
    assert_close(losses['sup.decode.loss_ce'], expected)
    assert_close(total(losses), expected + losses['loss_dc'])


# Heads

FLIPS = [[False, True], [True, True]]


def zoo_views():
    """Crops of 64 x 96 pixels, whose offsets fit cells of up to 16 pixels."""
    return crop_pair([[(0, 0), (16, 32)]] * 2, FLIPS, size=(64, 96))


@pytest.mark.parametrize('pseudo_dropout', [True, False])
@pytest.mark.parametrize('name', ZOO)
def test_trains_on_each_head(name, pseudo_dropout):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    contrast = dict(
        threshold=None,
        num_negatives=20,
        bank=dict(steps=1),
        pseudo_dropout=pseudo_dropout,
    )
    model = build(dict(type='CAC', student=student, contrast=contrast)).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = frozen_copy(model)
    if name == 'pidnet':  # its own loss needs edge maps
        losses, _ = model.consistency(zoo_views())
    else:
        losses = model.loss(streams(zoo_views(), size=(64, 96)))
    assert losses['loss_dc'] > 0
    assert losses['loss_dc'].isfinite()
    total(losses).backward()
    optimizer.step()
    model.update_memory(**model.step_outputs['memory'])
    after = model.state_dict()
    assert all(after[key].isfinite().all() for key in after)
    for key in ('contrast.projector.layers.0.weight', 'contrast.bank.features'):
        assert not after[key].equal(before[key])
    backbone = [k for k, _ in model.named_parameters() if '.backbone.' in k]
    assert any(not after[key].equal(before[key]) for key in backbone)
    assert model.contrast.bank.labels.max() < model.num_classes


@pytest.mark.parametrize('name', ['fcn', 'deeplabv3plus', 'segformer'])
def test_features_of_the_fourth_stage(name):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    contrast = dict(feature='stage4', threshold=None)
    model = build(dict(type='CAC', student=student, contrast=contrast))
    size = (64, 64) if name == 'segformer' else (64, 96)
    corner = (32, 32) if name == 'segformer' else (16, 32)
    views = crop_pair([[(0, 0), corner]] * 2, FLIPS, size)
    found = cells_of(model.train(), views[0])
    maps = model.student.extract_feat(views[0].inputs)
    assert found.size == tuple(maps[3].shape[2:])
    assert model.contrast.projector.layers[0].in_channels == maps[3].shape[1]
    losses, _ = model.consistency(views)
    assert losses['loss_dc'] > 0
    losses['loss_dc'].backward()
    assert model.student.decode_head.conv_seg.weight.grad is None


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(views=('a',)), 'views must be 2 names'),
        (dict(views='v1'), "views must be 2 names, but got 'v1'"),
        (dict(views=('a', 'a')), 'views must be two different names'),
        (dict(contrast=None), 'model.contrast must be dict'),
        (dict(contrast=dict(type='OverlapContras')), 'model.contrast.type must be in'),
        (dict(sup_weight=-1), 'sup_weight must be a number >= 0, but got -1'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CAC', student=student_cfg(), **settings))


def test_a_contrast_of_another_kind():
    for method, part in (('CAC', 'PartContrast'), ('MeanTeacher', 'OverlapContrast')):
        cfg = dict(type=method, student=student_cfg(), contrast=dict(type=part))
        with pytest.raises(ValueError, match=f"contrast.type must be .*'{part}'"):
            build(cfg)


def test_wrong_streams():
    model = make()
    labeled = batch(2, size=SIZE)
    for unlabeled in (batch(2), dict(weak=batch(2), strong=batch(2))):
        with pytest.raises(ValueError, match=r"\['view1', 'view2'\].*OverlapCrops"):
            model.loss(dict(labeled=labeled, unlabeled=unlabeled))


def test_names_of_the_views():
    names, views = ('left', 'right'), random_pair(5)
    expected = make().loss(streams(views))['loss_dc']
    assert_close(make(names).loss(streams(views, names))['loss_dc'], expected)


def test_there_is_no_teacher():
    model = make()
    assert list(model.networks) == ['student']
    assert model.predict_with == 'student'
    assert not model.has_memory
    assert make(**BANK).has_memory
    assert [fill.tolist() for fill in make(**BANK).bank_fill()] == [[0]]
    result = model.eval().predict(batch(1).inputs)
    assert result[0].pred_sem_seg.shape == (32, 32)


def test_a_checkpoint_of_the_plain_segmentor_fills_the_student():
    model, plain = make(), build(student_at_8(), seed=4)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split('.layers')[0] for key in missing} == {'contrast.projector'}
    key = 'decode_head.conv_seg.weight'
    assert torch.equal(model.student.state_dict()[key], plain.state_dict()[key])
