"""CAC: against loops over cells, its memory, whole runs."""

import copy

import pytest
import torch
from cac_crops import SIZE, Reference, crop_pair, random_pair
from helpers import batch, build, frozen_copy, spread, student_cfg, total
from mmengine.config import ConfigDict
from torch.testing import assert_close
from zoo import ZOO

from mmsemiseg.models import CAC
from mmsemiseg.models.adapter import SegmentorAdapter

BANK = dict(num_negatives=10, bank_steps=2)


def student_at_8(**settings):
    """Features at stride 8."""
    backbone = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 2))
    return student_cfg(backbone=backbone, **settings)


def make(student=None, spread_by=1.0, **settings):
    """With confidences on both sides of the threshold."""
    settings = {'threshold': 0.7, 'proj_channels': 6, **settings}
    model = build(dict(type='CAC', student=student or student_at_8(), **settings))
    spread(model.student, seed=1, scale=spread_by)
    return model.train()


def inputs(views, model=None):
    names = ('view1', 'view2') if model is None else model.views
    return dict(unlabeled=dict(zip(names, views, strict=True)))


def gradients(loss, model):
    params = list(model.parameters())
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return [0 * p if g is None else g for p, g in zip(params, found, strict=True)]


def step(model, seed, **settings):
    """Loss on random crops, then what the hook does; returns what was entered."""
    model.step_outputs = {}
    model.unsupervised_loss(inputs(random_pair(seed, **settings)))
    rows = model.step_outputs['memory']
    model.update_memory(**rows)
    return rows


# Against loops

FAR = dict(num_negatives=7, bank_steps=1)
SETTINGS = {
    'default': {},
    'both ways': dict(direction=False),
    'no filter of negatives': dict(negative_filter=False),
    'no threshold': dict(threshold=None),
    'vanilla': dict(direction=False, negative_filter=False, threshold=None),
    'overlap': dict(norm='overlap'),
    'overlap both ways': dict(norm='overlap', direction=False, threshold=None),
    'exclude': dict(exclude_same_location=True, threshold=None),
    'exclude, no filter': dict(exclude_same_location=True, negative_filter=False),
    'exclude, drawn': dict(exclude_same_location=True, num_negatives=15),
    'exclude, kept': dict(exclude_same_location=True, threshold=None, **FAR),
    'pooled': dict(pool=2, threshold=None),
    'pooled, overlap, kept': dict(pool=2, norm='overlap', threshold=0.2, **FAR),
    'pooled, dropout of elements': dict(
        pool=2,
        threshold=None,
        student=student_at_8(
            decode_head=dict(
                type='ElementDropoutHead', head='FCNHead', dropout_ratio=0.3
            )
        ),
    ),
    'drawn': dict(num_negatives=9),
    'one step kept': FAR,
    'two steps kept': dict(num_negatives=7, bank_steps=2, norm='overlap'),
    'features': dict(projector=False),
    'features of a stage': dict(feature='stage4', threshold=None),
    'other temperature': dict(temperature=0.03, unsup_weight=2.0),
    'widths': dict(proj_channels=3, proj_hidden=5),
    'l2': dict(loss='l2'),
    'l2, pooled features': dict(loss='l2', projector=False, pool=2),
}


@pytest.mark.parametrize('padded', [False, True], ids=['whole', 'padded'])
@pytest.mark.parametrize('name', SETTINGS)
def test_against_loops(name, padded):
    model = make(**SETTINGS[name])
    cell = 8 * model.pool
    for seed in range(3 * (model.queue is not None)):
        step(model, seed, cell=cell)
    terms = 0
    for seed in (5, 6):
        views = random_pair(seed + 10 * padded, cell, images=2, padded=padded)
        model.step_outputs = {}
        torch.manual_seed(seed)
        losses = model.unsupervised_loss(inputs(views))
        torch.manual_seed(seed)
        reference = Reference(model, views)
        expected = reference.loss()
        assert_close(losses['loss_dc'], expected, rtol=1e-4, atol=1e-6)
        got, wanted = (gradients(loss, model) for loss in (losses['loss_dc'], expected))
        scale = max(g.abs().max() for g in wanted)
        for mine, theirs in zip(got, wanted, strict=True):
            assert_close(mine, theirs, rtol=1e-3, atol=1e-4 * scale.item())
        if 'dc_selected' in losses:
            share = sum(reference.selected) / max(sum(reference.overlaps()), 1)
            assert losses['dc_selected'].item() == pytest.approx(share)
            terms += sum(reference.selected)
        else:
            terms += sum(reference.overlaps())
        assert losses['loss_dc'] > 0
    assert terms >= 4


def test_the_settings_matter():
    """Or the comparisons above would show less than they seem to."""
    views, values = random_pair(5), {}
    for name, settings in SETTINGS.items():
        if 'pool' in settings or 'num_negatives' in settings or name == 'widths':
            continue
        model = make(**settings)
        with torch.no_grad():
            values[name] = model.unsupervised_loss(inputs(views))['loss_dc'].item()
    assert len(values) == len(set(values.values()))


# Gradients


def spied(model, monkeypatch):
    """What :meth:`CAC.crops` gives, with the gradients of the embeddings."""
    seen, crops = [], model.crops

    def spy(view):
        found = crops(view)
        found.embedding.retain_grad()
        seen.append(found)
        return found

    monkeypatch.setattr(model, 'crops', spy)
    return seen


def test_only_anchors_learn(monkeypatch):
    """Without flips, at one offset: cell i of one crop is cell i of the other."""
    model = make()
    seen = spied(model, monkeypatch)
    views = crop_pair([[(0, 0), (0, 0)]] * 2, [[False, False]] * 2)
    model.unsupervised_loss(inputs(views))['loss_dc'].backward()
    for mine, theirs in (seen, seen[::-1]):
        learns = (mine.confidence < theirs.confidence) & (theirs.confidence > 0.7)
        assert 0 < learns.sum() < learns.numel()
        moved = mine.embedding.grad.ne(0).any(2)
        assert torch.equal(moved, learns)


def test_l2_moves_both(monkeypatch):
    model = make(loss='l2')
    seen = spied(model, monkeypatch)
    views = crop_pair([[(0, 0), (0, 0)]], [[False, False]])
    model.unsupervised_loss(inputs(views))['loss_dc'].backward()
    first, second = (crops.embedding.grad for crops in seen)
    assert first.ne(0).any(2).all()
    assert_close(first, -second)


def test_padded_cells_take_no_part(monkeypatch):
    """The lower half of the image is padding, and a column that cuts a cell."""
    model = make(threshold=None)
    seen = spied(model, monkeypatch)
    views = crop_pair([[(0, 0), (0, 8)]] * 2, [[False, True]] * 2, real=[(16, 45)] * 2)
    model.unsupervised_loss(inputs(views))['loss_dc'].backward()
    whole = torch.zeros(4, 6, dtype=torch.bool)
    whole[:2, :5] = True
    assert torch.equal(seen[0].valid[0], whole.flatten())
    shown = torch.zeros(4, 6, dtype=torch.bool)
    shown[:2, 2:] = True  # flipped: columns 48 to 56, of which 45 are there
    assert torch.equal(seen[1].valid[1], shown.flatten())
    hidden = torch.cat([(~crops.valid).flatten() for crops in seen])
    assert (model.step_outputs['memory']['labels'] == -1).sum() == hidden.sum()
    moved = 0
    for crops in seen:
        assert crops.embedding.grad[~crops.valid].eq(0).all()
        moved += crops.embedding.grad.ne(0).any(2).sum()
    assert moved > 0


def test_padded_cells_are_no_positives_nor_negatives():
    """What a padded cell holds changes nothing."""
    model = make(threshold=None, direction=False)
    views = crop_pair([[(0, 0), (0, 8)]] * 2, [[False, True]] * 2, real=[(16, 45)] * 2)
    crops = model.crops

    def other(view):
        found = crops(view)
        noise = torch.randn(found.embedding.shape)
        noise = torch.nn.functional.normalize(noise, dim=2)
        mixed = torch.where(found.valid[..., None], found.embedding, noise)
        return found._replace(
            embedding=mixed,
            confidence=found.confidence.masked_fill(~found.valid, 0.99),
            label=found.label.masked_fill(~found.valid, 1),
        )

    expected = model.unsupervised_loss(inputs(views))['loss_dc']
    model.crops = other
    got = model.unsupervised_loss(inputs(views))['loss_dc']
    assert_close(got, expected)
    assert got > 0


@pytest.mark.parametrize('side', [0, 1])
def test_a_cell_that_is_padding_in_one_crop_alone_makes_no_pair(side, monkeypatch):
    """As a transform of a single crop may leave it."""
    model = make(threshold=None, direction=False)
    views = crop_pair([[(0, 0), (0, 0)]], [[False, False]])
    views[side].data_samples[0].valid_map.data[:, 8:16] = False
    seen = spied(model, monkeypatch)
    model.unsupervised_loss(inputs(views))['loss_dc'].backward()
    expected = torch.ones(4, 6, dtype=torch.bool)
    expected[1] = False
    for crops in seen:
        moved = crops.embedding.grad.ne(0).any(2)
        assert torch.equal(moved[0], expected.flatten())


# Nothing there


def apart():
    return crop_pair([[(0, 0), (64, 64)]] * 2, [[False, True]] * 2)


def all_padding():
    return crop_pair([[(0, 0), (0, 8)]] * 2, [[False, True]] * 2, real=[(0, 0)] * 2)


@pytest.mark.parametrize('loss', ['contrast', 'l2'])
@pytest.mark.parametrize('exclude', [False, True])
@pytest.mark.parametrize('make_views', [apart, all_padding])
def test_no_overlap(make_views, exclude, loss):
    model = make(loss=loss, exclude_same_location=exclude, threshold=None, **BANK)
    losses = model.unsupervised_loss(inputs(make_views()))
    assert losses['loss_dc'] == 0
    losses['loss_dc'].backward()
    for name, param in model.named_parameters():
        if name.startswith('projector') or 'backbone' in name:
            assert param.grad.eq(0).all(), name
    if make_views is all_padding and loss == 'contrast':
        assert model.step_outputs['memory']['labels'].eq(-1).all()


def test_nobody_is_confident_enough():
    model = make(threshold=1.0)
    losses = model.unsupervised_loss(inputs(random_pair(5)))
    assert losses['loss_dc'] == losses['dc_selected'] == 0
    losses['loss_dc'].backward()
    assert all(param.grad.eq(0).all() for param in model.projector.parameters())


def test_one_class_has_no_negatives():
    model = make(threshold=0.3, direction=False)
    classifier = model.student.decode_head.conv_seg
    with torch.no_grad():
        classifier.bias[1] += 1000  # confidences of 1
    losses = model.unsupervised_loss(inputs(random_pair(5)))
    assert losses['loss_dc'] == 0
    assert losses['dc_selected'] == 2
    losses['loss_dc'].backward()
    assert all(param.grad.eq(0).all() for param in model.projector.parameters())
    model.contrast.negative_filter = False
    assert model.unsupervised_loss(inputs(random_pair(5)))['loss_dc'] > 0


# Warm-up


@pytest.mark.parametrize('projector', [True, False])
def test_nothing_before_start_iter(projector, monkeypatch):
    model = make(start_iter=5, projector=projector, **BANK)
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
        model.step_outputs = {}
        losses = model.unsupervised_loss(inputs(random_pair(5)))
        assert (losses['loss_dc'] > 0) == started
        assert bool(calls) == ('memory' in model.step_outputs) == started
        if started or not projector:
            continue
        model.zero_grad()
        losses['loss_dc'].backward()
        assert all(param.grad.eq(0).all() for param in model.projector.parameters())
        assert all(param.grad is None for param in model.student.parameters())


def test_the_labeled_stream_is_the_students_own_loss():
    model = make()
    labeled = batch(2, size=SIZE)
    losses = model.loss(dict(inputs(random_pair(5)), labeled=labeled))
    assert {'sup.decode.loss_ce', 'loss_dc', 'dc_selected'} <= set(losses)
    expected = model.student.loss(*labeled)['decode.loss_ce']
    assert_close(losses['sup.decode.loss_ce'], expected)
    assert_close(total(losses), expected + losses['loss_dc'])


# Pseudo labels


@pytest.mark.parametrize('pool', [1, 2])
@pytest.mark.parametrize('feature', ['pre_cls', 'stage4'])
def test_pseudo_labels_without_dropout(feature, pool):
    student = student_at_8(decode_head=dict(dropout_ratio=0.5))
    view = random_pair(5)[0]
    plain = make(student, feature=feature, pseudo_dropout=False, pool=pool)
    found, again = plain.crops(view), plain.crops(view)
    assert torch.equal(found.confidence, again.confidence)
    plain.student.decode_head.dropout.eval()
    logits = plain.adapter(plain.student, view.inputs).logits
    plain.student.decode_head.dropout.train()
    logits = torch.nn.functional.avg_pool2d(logits, pool)
    confidence, label = logits.softmax(1).flatten(2).max(1)
    assert_close(found.confidence, confidence)
    assert torch.equal(found.label, label)
    assert plain.student.decode_head.dropout.training
    dropped = make(student, feature=feature, pool=pool)
    found, again = dropped.crops(view), dropped.crops(view)
    assert not torch.equal(found.confidence, again.confidence)
    assert_close(found.embedding, again.embedding)


def test_pooled_logits_are_those_of_pooled_features():
    model = make(pool=2)
    view = random_pair(5, cell=16)[0]
    with torch.no_grad():
        features = model.adapter(model.student, view.inputs).features
        pooled = torch.nn.functional.avg_pool2d(features, 2)
        logits = model.student.decode_head.conv_seg(pooled)
        found = model.crops(view)
    assert found.size == (2, 3)
    assert_close(found.confidence, logits.softmax(1).amax(1).flatten(1))


@pytest.mark.parametrize('per', ['channel', 'element'])
def test_pseudo_labels_of_pooled_features_have_a_dropout_of_their_own(per):
    """As published: pooled, then dropped, then classified."""
    head = dict(dropout_ratio=0.5)
    if per == 'element':
        head.update(type='ElementDropoutHead', head='FCNHead')
    model = make(student_at_8(decode_head=head), pool=2)
    seen, dropout = [], model.student.decode_head.dropout
    dropout.register_forward_hook(lambda module, args, out: seen.append((args[0], out)))
    view = random_pair(5, cell=16)[0]
    found = model.crops(view)
    (before, _), (pooled, dropped) = seen
    assert_close(pooled, torch.nn.functional.avg_pool2d(before, 2))
    logits = model.student.decode_head.conv_seg(dropped)
    confidence, label = logits.softmax(1).flatten(2).max(1)
    assert torch.equal(found.confidence, confidence)
    assert torch.equal(found.label, label)
    there = pooled.ne(0)
    lost = (there & dropped.eq(0)).sum((2, 3)) / there.sum((2, 3)).clamp(min=1)
    assert lost.max() > 0  # share of each channel
    assert lost.remainder(1).eq(0).all() == (per == 'channel')
    model.pool, seen[:] = 1, []
    model.crops(view)
    assert len(seen) == 1  # that of the pass itself


# Negatives and their memory


def test_drawn_cells_are_part_of_each_whole_crop():
    model = make(num_negatives=9)
    views = random_pair(5)
    torch.manual_seed(3)
    crops = [model.crops(view) for view in views]
    drawn = model.negatives(crops)
    assert drawn.keys.shape == (18, 6)
    for view, place in enumerate(drawn.places):
        at = (place >= 0).nonzero()[:, 0]
        assert sorted(place[at].tolist()) == list(range(9 * view, 9 * view + 9))
        rows = crops[view].embedding.flatten(0, 1)
        assert torch.equal(drawn.keys[place[at]], rows[at])
        assert torch.equal(drawn.label[place[at]], crops[view].label.flatten()[at])
    again = model.negatives(crops)
    assert not torch.equal(again.keys, drawn.keys)
    assert not drawn.keys.requires_grad


def test_all_cells_are_the_default():
    model = make()
    crops = [model.crops(view) for view in random_pair(5, padded=True)]
    drawn = model.negatives(crops)
    assert len(drawn.keys) == 2 * 2 * 24
    assert (drawn.label == -1).sum() == sum((~c.valid).sum() for c in crops) > 0


@pytest.mark.parametrize('steps', [1, 2, 3])
def test_the_queue_holds_the_negatives_of_the_last_steps(steps):
    model = make(num_negatives=5, bank_steps=steps)
    assert model.queue.labels.eq(-1).all()
    entered = [step(model, seed, padded=True) for seed in range(5)]
    for name in ('features', 'labels'):
        expected = torch.cat([rows[name] for rows in entered[-steps:]])
        place = int(model.queue.pointer)
        assert torch.equal(getattr(model.queue, name).roll(-place, 0), expected)
    assert entered[0]['features'].shape == (10, 6)
    assert not torch.equal(entered[0]['features'], entered[1]['features'])


def test_the_loss_changes_no_state():
    model = make(**BANK)
    step(model, 0)
    before = frozen_copy(model)
    model.unsupervised_loss(inputs(random_pair(1)))
    changed = [k for k, v in model.state_dict().items() if not v.equal(before[k])]
    assert all('bn' in key or 'running' in key or 'num_' in key for key in changed)


def test_a_queue_of_more_processes_is_left_out(monkeypatch):
    """A checkpoint of two processes in one process: the rest is loaded."""
    from mmengine.runner.checkpoint import load_state_dict

    import mmsemiseg.models.segmentors.cac as module

    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    two = make(**BANK)
    monkeypatch.undo()
    assert two.queue.size == 2 * 2 * 10 * 2
    one = make(**BANK)
    with torch.no_grad():
        two.projector.layers[0].weight.add_(1)
    load_state_dict(one, two.state_dict())
    assert_close(one.projector.layers[0].weight, two.projector.layers[0].weight)
    assert one.queue.labels.eq(-1).all()


def test_no_more_negatives_than_cells():
    views = random_pair(5)
    model = make(num_negatives=48)
    assert model.unsupervised_loss(inputs(views))['loss_dc'] > 0
    model.num_negatives = 49
    with pytest.raises(ValueError, match=r'num_negatives=49, .* has 48 cells'):
        model.unsupervised_loss(inputs(views))


# Precision


@pytest.mark.parametrize('settings', [{}, dict(loss='l2'), dict(norm='overlap')])
def test_bf16_autocast(settings):
    model = make(threshold=None, temperature=0.5, spread_by=0.5, **settings)
    views = random_pair(5)
    # The same cells learn only where no confidence is rounded to another one's
    model.contrast.direction = False
    expected = model.unsupervised_loss(inputs(views))['loss_dc']
    with torch.autocast('cpu', torch.bfloat16):
        got = model.unsupervised_loss(inputs(views))['loss_dc']
    assert got.dtype == torch.float32
    assert_close(got, expected, rtol=0.03, atol=1e-3)
    assert got != expected
    got.backward()
    assert all(p.grad.isfinite().all() for p in model.projector.parameters())


# Heads

FLIPS = [[False, True], [True, True]]


def zoo_views():
    """Crops of 64 x 96 pixels, whose offsets fit cells of up to 16 pixels."""
    return crop_pair([[(0, 0), (16, 32)]] * 2, FLIPS, size=(64, 96))


@pytest.mark.parametrize('pseudo_dropout', [True, False])
@pytest.mark.parametrize('name', ZOO)
def test_trains_on_each_head(name, pseudo_dropout):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    settings = dict(threshold=None, num_negatives=20, bank_steps=1)
    model = build(
        dict(type='CAC', student=student, pseudo_dropout=pseudo_dropout, **settings)
    ).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = frozen_copy(model)
    unlabeled = inputs(zoo_views())
    if name == 'pidnet':  # its own loss needs edge maps
        losses = model.unsupervised_loss(unlabeled)
    else:
        losses = model.loss(dict(unlabeled, labeled=batch(2, size=(64, 96))))
    assert losses['loss_dc'] > 0
    assert losses['loss_dc'].isfinite()
    total(losses).backward()
    optimizer.step()
    model.update_memory(**model.step_outputs['memory'])
    after = model.state_dict()
    assert all(after[key].isfinite().all() for key in after)
    for key in ('projector.layers.0.weight', 'queue.features'):
        assert not after[key].equal(before[key])
    backbone = [k for k, _ in model.named_parameters() if '.backbone.' in k]
    assert any(not after[key].equal(before[key]) for key in backbone)
    assert model.queue.labels.max() < model.num_classes


@pytest.mark.parametrize('name', ['fcn', 'deeplabv3plus', 'segformer'])
def test_features_of_the_fourth_stage(name):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    model = build(dict(type='CAC', student=student, feature='stage4', threshold=None))
    size = (64, 64) if name == 'segformer' else (64, 96)
    corner = (32, 32) if name == 'segformer' else (16, 32)
    views = crop_pair([[(0, 0), corner]] * 2, FLIPS, size)
    found = model.train().crops(views[0])
    maps = model.student.extract_feat(views[0].inputs)
    assert found.size == tuple(maps[3].shape[2:])
    assert model.projector.layers[0].in_channels == maps[3].shape[1]
    losses = model.unsupervised_loss(inputs(views))
    assert losses['loss_dc'] > 0
    losses['loss_dc'].backward()
    assert model.student.decode_head.conv_seg.weight.grad is None


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(loss='l1'), "loss must be in .* 'l1'"),
        (dict(feature=None), 'feature must not be None'),
        (dict(feature='neck'), 'feature must be'),
        (dict(pool=0), 'pool must be an integer >= 1, but got 0'),
        (dict(num_negatives=0), 'num_negatives must be an integer >= 1, but got 0'),
        (dict(num_negatives=5, bank_steps=-1), 'bank_steps must be an integer >= 0'),
        (dict(bank_steps=1), 'bank_steps=1 needs num_negatives'),
        (dict(unsup_weight=-0.1), 'unsup_weight must be a number >= 0, but got -0.1'),
        (dict(unsup_weight=float('nan')), 'unsup_weight must be a number >= 0'),
        (dict(start_iter=-1), 'start_iter must be an integer >= 0, but got -1'),
        (dict(temperature=0), 'temperature must be > 0, but got 0'),
        (dict(threshold=1.5), 'threshold must be in .* 1.5'),
        (dict(norm='all'), "norm must be in .* 'all'"),
        (dict(proj_channels=0), 'channels must be at least 1, but got 0'),
        (dict(proj_hidden=0), 'hidden_channels must be at least 1, but got 0'),
        (dict(views=('a',)), 'views must be two different names'),
        (dict(views=('a', 'a')), 'views must be two different names'),
        (dict(views='v1'), "views must be two different names, but got 'v1'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CAC', student=student_cfg(), **settings))


def test_a_misspelt_setting():
    with pytest.raises(TypeError, match='num_negative'):
        build(dict(type='CAC', student=student_cfg(), num_negative=3))


def test_wrong_streams():
    model = make()
    for unlabeled in (batch(2), dict(weak=batch(2), strong=batch(2))):
        with pytest.raises(
            ValueError, match=r"views \('view1', 'view2'\).*OverlapCrops"
        ):
            model.unsupervised_loss(dict(unlabeled=unlabeled))
    other = make(views=('left', 'right'))
    views = random_pair(5)
    expected = model.unsupervised_loss(inputs(views))['loss_dc']
    got = other.unsupervised_loss(inputs(views, other))['loss_dc']
    assert_close(got, expected)


def test_a_pool_that_cuts_cells_off():
    model = make(pool=3)
    with pytest.raises(ValueError, match=r'pool=3 must divide .* \(4, 6\)'):
        model.unsupervised_loss(inputs(random_pair(5)))


def test_there_is_no_teacher():
    model = make()
    assert list(model.networks) == ['student']
    assert model.predict_with == 'student'
    assert not model.has_memory
    assert make(**BANK).has_memory
    result = model.eval().predict(batch(1).inputs)
    assert result[0].pred_sem_seg.shape == (32, 32)


def test_a_checkpoint_of_the_plain_segmentor_fills_the_student():
    model, plain = make(), build(student_at_8(), seed=4)
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split('.')[0] for key in missing} == {'projector'}
    key = 'decode_head.conv_seg.weight'
    assert torch.equal(model.student.state_dict()[key], plain.state_dict()[key])
