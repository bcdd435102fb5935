"""OverlapContrast: against loops over cells, its bank, its settings."""

import pytest
import torch
from cac_crops import Reference, cells_of, crop_pair, random_pair
from helpers import build, frozen_copy, spread, student_cfg
from torch.testing import assert_close

BANK = dict(num_negatives=10, bank=dict(type='StepQueue', steps=2))


def student_at_8(**settings):
    """Features at stride 8."""
    backbone = dict(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 2))
    return student_cfg(backbone=backbone, **settings)


def make(student=None, spread_by=1.0, **contrast):
    """A CAC with confidences on both sides of the threshold."""
    contrast = {'threshold': 0.7, 'projector': dict(channels=6), **contrast}
    model = build(
        dict(type='CAC', student=student or student_at_8(), contrast=contrast)
    )
    spread(model.student, seed=1, scale=spread_by)
    return model.train()


def losses_of(model, views):
    model.step_outputs = {}
    return model.consistency(views)[0]


def draw(model, views):
    """All keys of a step, and the cells of its crops."""
    cells = [cells_of(model, view) for view in views]
    return model.contrast.negatives(model.contrast.draw(cells)), cells


def gradients(loss, model):
    params = list(model.parameters())
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return [0 * p if g is None else g for p, g in zip(params, found, strict=True)]


def step(model, seed, **settings):
    """Loss on random crops, then what the hook does; returns what was entered."""
    losses_of(model, random_pair(seed, **settings))
    rows = model.step_outputs['memory']
    model.update_memory(**rows)
    return rows


# Against loops

FAR = dict(num_negatives=7, bank=dict(steps=1))
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
    'two steps kept': dict(num_negatives=7, bank=dict(steps=2), norm='overlap'),
    'features': dict(projector=None),
    'features of a stage': dict(feature='stage4', threshold=None),
    'other temperature': dict(temperature=0.03, weight=2.0),
    'widths': dict(projector=dict(channels=3, hidden_channels=5)),
    'l2': dict(loss='l2'),
    'l2, pooled features': dict(loss='l2', projector=None, pool=2),
}


@pytest.mark.parametrize('padded', [False, True], ids=['whole', 'padded'])
@pytest.mark.parametrize('name', SETTINGS)
def test_against_loops(name, padded):
    model = make(**SETTINGS[name])
    cell = 8 * model.contrast.pool
    for seed in range(3 * (model.contrast.bank is not None)):
        step(model, seed, cell=cell)
    terms = 0
    for seed in (5, 6):
        views = random_pair(seed + 10 * padded, cell, images=2, padded=padded)
        torch.manual_seed(seed)
        losses = losses_of(model, views)
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
            values[name] = losses_of(model, views)['loss_dc'].item()
    assert len(values) == len(set(values.values()))


# Gradients


def spied(model, monkeypatch):
    """The cells of the crops, with the gradients of the embeddings."""
    seen, cells = [], model.contrast.cells

    def spy(*args):
        found = cells(*args)
        found.embedding.retain_grad()
        seen.append(found)
        return found

    monkeypatch.setattr(model.contrast, 'cells', spy)
    return seen


def test_only_anchors_learn(monkeypatch):
    """Without flips, at one offset: cell i of one crop is cell i of the other."""
    model = make()
    seen = spied(model, monkeypatch)
    views = crop_pair([[(0, 0), (0, 0)]] * 2, [[False, False]] * 2)
    losses_of(model, views)['loss_dc'].backward()
    for mine, theirs in (seen, seen[::-1]):
        learns = (mine.confidence < theirs.confidence) & (theirs.confidence > 0.7)
        assert 0 < learns.sum() < learns.numel()
        moved = mine.embedding.grad.ne(0).any(2)
        assert torch.equal(moved, learns)


def test_l2_moves_both(monkeypatch):
    model = make(loss='l2')
    seen = spied(model, monkeypatch)
    views = crop_pair([[(0, 0), (0, 0)]], [[False, False]])
    losses_of(model, views)['loss_dc'].backward()
    first, second = (crops.embedding.grad for crops in seen)
    assert first.ne(0).any(2).all()
    assert_close(first, -second)


def test_padded_cells_take_no_part(monkeypatch):
    """The lower half of the image is padding, and a column that cuts a cell."""
    model = make(threshold=None)
    seen = spied(model, monkeypatch)
    views = crop_pair([[(0, 0), (0, 8)]] * 2, [[False, True]] * 2, real=[(16, 45)] * 2)
    losses_of(model, views)['loss_dc'].backward()
    whole = torch.zeros(4, 6, dtype=torch.bool)
    whole[:2, :5] = True
    assert torch.equal(seen[0].valid[0], whole.flatten())
    shown = torch.zeros(4, 6, dtype=torch.bool)
    shown[:2, 2:] = True  # flipped: columns 48 to 56, of which 45 are there
    assert torch.equal(seen[1].valid[1], shown.flatten())
    hidden = torch.cat([(~crops.valid).flatten() for crops in seen])
    assert (model.step_outputs['memory']['contrast.labels'] == -1).sum() == hidden.sum()
    moved = 0
    for crops in seen:
        assert crops.embedding.grad[~crops.valid].eq(0).all()
        moved += crops.embedding.grad.ne(0).any(2).sum()
    assert moved > 0


def test_padded_cells_are_no_positives_nor_negatives():
    """What a padded cell holds changes nothing."""
    model = make(threshold=None, direction=False)
    views = crop_pair([[(0, 0), (0, 8)]] * 2, [[False, True]] * 2, real=[(16, 45)] * 2)
    cells = model.contrast.cells

    def other(*args):
        found = cells(*args)
        noise = torch.randn(found.embedding.shape)
        noise = torch.nn.functional.normalize(noise, dim=2)
        mixed = torch.where(found.valid[..., None], found.embedding, noise)
        return found._replace(
            embedding=mixed,
            confidence=found.confidence.masked_fill(~found.valid, 0.99),
            label=found.label.masked_fill(~found.valid, 1),
        )

    expected = losses_of(model, views)['loss_dc']
    model.contrast.cells = other
    got = losses_of(model, views)['loss_dc']
    assert_close(got, expected)
    assert got > 0


@pytest.mark.parametrize('side', [0, 1])
def test_a_cell_that_is_padding_in_one_crop_alone_makes_no_pair(side, monkeypatch):
    """As a transform of a single crop may leave it."""
    model = make(threshold=None, direction=False)
    views = crop_pair([[(0, 0), (0, 0)]], [[False, False]])
    views[side].data_samples[0].valid_map.data[:, 8:16] = False
    seen = spied(model, monkeypatch)
    losses_of(model, views)['loss_dc'].backward()
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
    losses = losses_of(model, make_views())
    assert losses['loss_dc'] == 0
    losses['loss_dc'].backward()
    for name, param in model.named_parameters():
        if 'projector' in name or 'backbone' in name:
            assert param.grad.eq(0).all(), name
    if make_views is all_padding and loss == 'contrast':
        assert model.step_outputs['memory']['contrast.labels'].eq(-1).all()


def test_nobody_is_confident_enough():
    model = make(threshold=1.0)
    losses = losses_of(model, random_pair(5))
    assert losses['loss_dc'] == losses['dc_selected'] == 0
    losses['loss_dc'].backward()
    assert all(
        param.grad.eq(0).all() for param in model.contrast.projector.parameters()
    )


def test_one_class_has_no_negatives():
    model = make(threshold=0.3, direction=False)
    classifier = model.student.decode_head.conv_seg
    with torch.no_grad():
        classifier.bias[1] += 1000  # confidences of 1
    losses = losses_of(model, random_pair(5))
    assert losses['loss_dc'] == 0
    assert losses['dc_selected'] == 2
    losses['loss_dc'].backward()
    assert all(
        param.grad.eq(0).all() for param in model.contrast.projector.parameters()
    )
    model.contrast.directional.negative_filter = False
    assert losses_of(model, random_pair(5))['loss_dc'] > 0


# Pseudo labels


@pytest.mark.parametrize('pool', [1, 2])
@pytest.mark.parametrize('feature', ['pre_cls', 'stage4'])
def test_pseudo_labels_without_dropout(feature, pool):
    student = student_at_8(decode_head=dict(dropout_ratio=0.5))
    view = random_pair(5)[0]
    plain = make(student, feature=feature, pseudo_dropout=False, pool=pool)
    found, again = cells_of(plain, view), cells_of(plain, view)
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
    found, again = cells_of(dropped, view), cells_of(dropped, view)
    assert not torch.equal(found.confidence, again.confidence)
    assert_close(found.embedding, again.embedding)


def test_pooled_logits_are_those_of_pooled_features():
    model = make(pool=2)
    view = random_pair(5, cell=16)[0]
    with torch.no_grad():
        features = model.adapter(model.student, view.inputs).features
        pooled = torch.nn.functional.avg_pool2d(features, 2)
        logits = model.student.decode_head.conv_seg(pooled)
        found = cells_of(model, view)
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
    found = cells_of(model, view)
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
    model.contrast.pool, seen[:] = 1, []
    cells_of(model, view)
    assert len(seen) == 1  # that of the pass itself


# Negatives and their memory


def test_drawn_cells_are_part_of_each_whole_crop():
    model = make(num_negatives=9)
    views = random_pair(5)
    torch.manual_seed(3)
    drawn, cells = draw(model, views)
    assert drawn.features.shape == (18, 6)
    for view, place in enumerate(drawn.places):
        at = (place >= 0).nonzero()[:, 0]
        assert sorted(place[at].tolist()) == list(range(9 * view, 9 * view + 9))
        rows = cells[view].embedding.flatten(0, 1)
        assert torch.equal(drawn.features[place[at]], rows[at])
        assert torch.equal(drawn.label[place[at]], cells[view].label.flatten()[at])
    again, _ = draw(model, views)
    assert not torch.equal(again.features, drawn.features)
    assert not drawn.features.requires_grad


def test_all_cells_are_the_default():
    model = make()
    drawn, cells = draw(model, random_pair(5, padded=True))
    assert len(drawn.features) == 2 * 2 * 24
    assert (drawn.label == -1).sum() == sum((~c.valid).sum() for c in cells) > 0


@pytest.mark.parametrize('steps', [1, 2, 3])
def test_the_queue_holds_the_negatives_of_the_last_steps(steps):
    model = make(num_negatives=5, bank=dict(steps=steps))
    assert model.contrast.bank.labels.eq(-1).all()
    entered = [step(model, seed, padded=True) for seed in range(5)]
    for name in ('features', 'labels'):
        expected = torch.cat([rows[f'contrast.{name}'] for rows in entered[-steps:]])
        place = int(model.contrast.bank.pointer)
        assert torch.equal(getattr(model.contrast.bank, name).roll(-place, 0), expected)
    assert entered[0]['contrast.features'].shape == (10, 6)
    assert not torch.equal(
        entered[0]['contrast.features'], entered[1]['contrast.features']
    )


def test_the_loss_changes_no_state():
    model = make(**BANK)
    step(model, 0)
    before = frozen_copy(model)
    losses_of(model, random_pair(1))
    changed = [k for k, v in model.state_dict().items() if not v.equal(before[k])]
    assert all('bn' in key or 'running' in key or 'num_' in key for key in changed)


def test_a_queue_of_more_processes_is_left_out(monkeypatch):
    """A checkpoint of two processes in one process: the rest is loaded."""
    from mmengine.runner.checkpoint import load_state_dict

    import mmsemiseg.models.contrast.overlap_contrast as module

    monkeypatch.setattr(module, 'get_world_size', lambda: 2)
    two = make(**BANK)
    monkeypatch.undo()
    assert two.contrast.bank.size == 2 * 2 * 10 * 2
    one = make(**BANK)
    with torch.no_grad():
        two.contrast.projector.layers[0].weight.add_(1)
    load_state_dict(one, two.state_dict())
    assert_close(
        one.contrast.projector.layers[0].weight, two.contrast.projector.layers[0].weight
    )
    assert one.contrast.bank.labels.eq(-1).all()


def test_no_more_negatives_than_cells():
    views = random_pair(5)
    model = make(num_negatives=48)
    assert losses_of(model, views)['loss_dc'] > 0
    model.contrast.num_negatives = 49
    with pytest.raises(ValueError, match=r'num_negatives=49, .* has 48 cells'):
        losses_of(model, views)


# Precision


@pytest.mark.parametrize('settings', [{}, dict(loss='l2'), dict(norm='overlap')])
def test_bf16_autocast(settings):
    model = make(threshold=None, temperature=0.5, spread_by=0.5, **settings)
    views = random_pair(5)
    # The same cells learn only where no confidence is rounded to another one's
    model.contrast.directional.direction = False
    expected = losses_of(model, views)['loss_dc']
    with torch.autocast('cpu', torch.bfloat16):
        got = losses_of(model, views)['loss_dc']
    assert got.dtype == torch.float32
    assert_close(got, expected, rtol=0.03, atol=1e-3)
    assert got != expected
    got.backward()
    assert all(p.grad.isfinite().all() for p in model.contrast.projector.parameters())


# Settings


def test_a_pool_that_cuts_cells_off():
    model = make(pool=3)
    with pytest.raises(ValueError, match=r'pool=3 must divide .* \(4, 6\)'):
        losses_of(model, random_pair(5))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(loss='l1'), r"model\.contrast\.loss must be in .* 'l1'"),
        (dict(feature=None), r'model\.contrast\.feature must not be None'),
        (dict(feature='neck'), r'model\.contrast\.feature must be'),
        (dict(feature=('stage3', 'stage4')), 'feature must be a single layer'),
        (dict(pool=0), r'model\.contrast\.pool must be an integer >= 1, but got 0'),
        (dict(num_negatives=0), 'num_negatives must be an integer >= 1, but got 0'),
        (
            dict(num_negatives=5, bank=dict(steps=-1)),
            r'model\.contrast\.bank\.steps must be an integer >= 1, but got -1',
        ),
        (dict(num_negatives=5, bank={}), "contrast.bank must have the setting 'steps'"),
        (dict(num_negatives=5, bank=dict(steps=1, dim=3)), "no setting 'dim'"),
        (dict(bank=dict(steps=1)), 'num_negatives must be an integer.* but got None'),
        (dict(weight=-0.1), r'contrast\.weight must be a number >= 0, but got -0.1'),
        (dict(weight=float('nan')), 'weight must be a number >= 0'),
        (dict(start=-1), 'start must be an integer >= 0, but got -1'),
        (dict(temperature=0), r'contrast\.temperature must be > 0, but got 0'),
        (dict(threshold=1.5), 'threshold must be in .* 1.5'),
        (dict(norm='all'), "norm must be in .* 'all'"),
        (
            dict(projector=dict(channels=0)),
            r'model\.contrast\.projector\.channels must be at least 1, but got 0',
        ),
        (dict(projector=dict(hidden_channels=0)), 'hidden_channels must be at least 1'),
        (dict(projector=False), r'contrast\.projector must be dict\(type=.* or None'),
        (
            dict(num_negative=3),
            "no setting 'num_negative' .did you mean 'num_negatives",
        ),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CAC', student=student_cfg(), contrast=settings))
