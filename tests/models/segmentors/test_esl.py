"""One step of ESL against a reference written from its equations."""

import pytest
import torch
import torch.nn.functional as F
from helpers import batch, build, frozen_copy, spread, streams, student_cfg, total
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmsemiseg.functional import cutmix_masks, dynamic_soft_label, partners
from mmsemiseg.models import ESL

SMALL = dict(
    num_parts=2,
    threshold=0.0,
    anchor_share=1.0,
    num_negatives=5,
    projector=dict(channels=6, hidden_channels=8, dropout=0.0),
    bank=dict(size=1),
)


def make(contrast=SMALL, **settings):
    """Student and teacher with weights of their own, in train mode."""
    model = build(dict(type=ESL, student=student_cfg(), contrast=contrast, **settings))
    spread(model.student, seed=1)
    spread(model.teacher, seed=2)
    return model.train()


def begun(**settings):
    """A model whose prototypes and queues are there."""
    model = make({**SMALL, **settings})
    part = model.contrast
    g = torch.Generator().manual_seed(0)
    dim = part.prototypes.vectors.shape[-1]
    part.prototypes.begin(
        torch.randn(90, dim, generator=g), torch.arange(90) % model.num_classes
    )
    rows = torch.randn(part.bank.groups, part.bank.dim, generator=g)
    part.bank.enqueue(F.normalize(rows, dim=1), torch.arange(part.bank.groups))
    return model


def teacher_logits(model, images):
    """(N, C, H, W) at the size of the image, and the two feature maps."""
    net = model.teacher.eval()
    with torch.no_grad():
        maps = net.extract_feat(images)
        logits = net.decode_head(maps)
        feature = net.decode_head._forward_feature(maps)
    logits = F.interpolate(logits, images.shape[2:], mode='bilinear')
    return logits, feature, maps[-1]


def test_soft_cross_entropy_equals_its_equation():
    model = make(contrast=None, mix=None)
    model.student.eval()
    data = streams(n=3)
    losses = model.loss(data)
    assert sorted(k for k in losses if 'loss' in k) == [
        'loss_sce',
        'sup.decode.loss_ce',
    ]
    unlabeled = data['unlabeled']
    probs = teacher_logits(model, unlabeled['weak'].inputs)[0].softmax(1)
    label = dynamic_soft_label(probs, 0.95)
    assert 1 < label.gt(0).sum(1).float().mean() < 3
    logits = model.student.decode_head(
        model.student.extract_feat(unlabeled['strong'].inputs)
    )
    logits = F.interpolate(logits, (32, 32), mode='bilinear')
    cross = -(label * logits.log_softmax(1)).sum(1)
    assert_close(losses['loss_sce'], 0.2 * cross.mean())


@pytest.mark.parametrize('mix', [None, dict(type='CutMix')])
def test_contrast_equals_its_equation(mix):
    """Queues of one key and all others as negatives: nothing is left to chance."""
    model = begun()
    model.mix = model.build_part('mix', mix)
    data = streams(n=3)
    torch.manual_seed(4)
    losses = model.loss(data)
    torch.manual_seed(4)
    mask, partner = None, None
    if mix:
        partner = partners(3)
        mask = cutmix_masks(3, 32, 32)
    part = model.contrast
    keys = part.bank.features[:, 0]
    weak, strong = (data['unlabeled'][view].inputs for view in ('weak', 'strong'))
    probs, _, weak_deep = teacher_logits(model, weak)
    _, _, labeled_deep = teacher_logits(model, data['labeled'].inputs)
    mixed = strong
    if mix:
        mixed = torch.where(mask, strong[partner], strong)
    sums = [[] for _ in range(3)]
    for images, deep, label, unlabeled in (
        (data['labeled'].inputs, labeled_deep, data['labeled'].labels, False),
        (mixed, weak_deep, probs.argmax(1), True),
    ):
        large = F.interpolate(deep, (32, 32), mode='bilinear')
        maps = model.student.extract_feat(images)
        feature = model.student.decode_head._forward_feature(maps)
        head = part.head_pairs[0].student
        z = F.normalize(head(feature), dim=1)
        step = 32 // z.shape[2]
        for n, y, x in torch.ones_like(z[:, 0]).nonzero().tolist():
            source = n
            if unlabeled and mix and mask[n, 0, y * step, x * step]:
                source = partner[n].item()
            c = label[source, y * step, x * step].item()
            e = large[source, :, y * step, x * step]
            k = F.cosine_similarity(e[None], part.prototypes.vectors[c]).argmax().item()
            logits = keys @ z[n, :, y, x] / 0.5
            sums[c].append(logits.logsumexp(0) - logits[c * 2 + k])
    expected = sum(torch.stack(one).mean() for one in sums) / 3
    assert_close(losses['loss_ctr'], 0.1 * expected, atol=1e-4, rtol=1e-3)


def test_gradients_reach_the_student_alone():
    model = begun()
    before = frozen_copy(model)
    total(model.loss(streams(n=3))).backward()
    for name, param in model.named_parameters():
        assert (param.grad is None) == ('teacher' in name), name
    assert all(p.grad.isfinite().all() for p in model.parameters())
    moved = [k for k, v in model.state_dict().items() if not v.equal(before[k])]
    assert all('running_' in k or 'num_batches' in k for k in moved)


@pytest.mark.parametrize(
    ('name', 'layers'),
    [
        ('sup.decode.loss_ce', {'backbone', 'decode_head', 'conv_seg'}),
        ('loss_sce', {'backbone', 'decode_head', 'conv_seg'}),
        ('loss_ctr', {'backbone', 'decode_head', 'projector'}),
    ],
)
def test_each_loss_reaches_its_layers(name, layers):
    """Segmentation losses the classifier, the contrast the projector."""
    model = begun()
    model.loss(streams(n=3))[name].backward()
    (projector,) = model.contrast.head_pairs
    head = model.student.decode_head
    parts = dict(
        backbone=model.student.backbone,
        decode_head=head.convs,
        conv_seg=head.conv_seg,
        projector=projector.student,
    )
    learning = {k for k, part in parts.items() if has_gradient(part)}
    assert learning == layers
    assert not has_gradient(model.teacher) and not has_gradient(projector.teacher)


def has_gradient(module):
    """Whether all parameters have one above 0; else none may have any."""
    found = {p.grad is not None for p in module.parameters()}
    assert len(found) == 1
    return found.pop() and all(p.grad.abs().sum() > 0 for p in module.parameters())


def test_a_step_leaves_rows_and_update_memory_takes_them():
    model = begun()
    model.loss(streams(n=3))
    left = model.step_outputs['memory']
    names = ('features', 'group', 'sums', 'counts')
    assert list(left) == [f'contrast.{name}' for name in names]
    assert not any(value.requires_grad for value in left.values())
    before = frozen_copy(model.contrast)
    model.update_memory(**left)
    changed = {
        k for k, v in model.contrast.state_dict().items() if v.ne(before[k]).any()
    }
    assert 'prototypes.vectors' in changed
    assert 'bank.features' in changed
    assert model.has_memory
    (fill,) = model.bank_fill()
    assert fill.shape == (model.num_classes,) and fill.gt(0).all()
    assert model.unready_classes() == []


def test_without_contrast_the_teacher_reads_no_labeled_image(monkeypatch):
    model = make(contrast=None)
    assert not model.has_memory
    assert model.prototypes is None
    seen = []
    call = model.teacher.extract_feat
    monkeypatch.setattr(
        model.teacher, 'extract_feat', lambda images: seen.append(1) or call(images)
    )
    model.loss(streams())
    assert len(seen) == 1


def calls_of(*layers):
    """The list that names each call of a layer by its place."""
    calls = []
    for number, layer in enumerate(layers):
        layer.register_forward_hook(lambda *_, n=number: calls.append(n))
    return calls


def test_the_teacher_classifies_the_unlabeled_images_alone():
    model = begun()
    calls = calls_of(model.teacher.backbone, model.teacher.decode_head.conv_seg)
    model.loss(streams())
    assert sorted(calls) == [0, 0, 1]


def test_features_for_the_prototypes_need_no_head():
    model = make()
    calls = calls_of(model.teacher.backbone, model.teacher.decode_head)
    rows, label = model.prototype_features(streams()['labeled'])
    assert calls == [0]
    assert len(rows) == len(label) > 0


def test_without_contrast_labels_alone_are_mixed():
    model, seen = make(contrast=None), []
    mix = model.mix
    model.mix = lambda images, maps, *more: (
        seen.append(len(maps)) or mix(images, maps, *more)
    )
    model.loss(streams())
    assert seen == [1]


@pytest.mark.parametrize('taps', [('pre_cls', -1), ('pre_cls', 'pre_cls'), (2, 3)])
def test_features_of_other_layers(taps):
    model = make({**SMALL, 'feature': taps, 'projector': None})
    losses = model.loss(streams())
    assert losses['loss_ctr'].item() == 0  # no prototype yet
    model.update_memory(**model.step_outputs['memory'])
    for seed in (1, 2):
        losses = model.loss(streams(seed=seed))
        model.update_memory(**model.step_outputs['memory'])
    assert losses['loss_ctr'].item() > 0


def test_one_image_and_an_unlabeled_stream_without_a_class():
    model = begun()
    with pytest.warns(UserWarning, match='CutMix has no effect'):
        losses = model.loss(streams(n=1))
    assert total(losses).isfinite()
    nothing = torch.zeros(32, 32, dtype=torch.bool)
    losses = model.loss(streams(valid=nothing))
    assert losses['loss_sce'].item() == 0
    assert total(losses).isfinite()


def test_no_image_is_labeled_in_a_batch():
    model = begun(threshold=1.0)
    data = streams()
    for sample in data['labeled'].data_samples:
        sample.gt_sem_seg.data.fill_(255)
    losses = model.loss(data)
    assert losses['loss_ctr'].item() == 0
    losses['loss_ctr'].backward()


def test_a_dynamic_soft_label_serves_the_mean_teacher():
    label = dict(type='DynamicSoftLabel', top_p=0.9)
    cfg = dict(
        type='MeanTeacher',
        student=student_cfg(),
        pseudo_label=label,
        pseudo_loss=dict(threshold=None, weight=0.2),
    )
    teacher, esl = build(cfg), make(contrast=None, pseudo_label=label)
    teacher.load_state_dict(esl.state_dict())
    torch.manual_seed(0)
    mine = esl.loss(streams())['loss_sce']
    torch.manual_seed(0)
    assert_close(teacher.train().loss(streams())['loss_unsup'], mine)


def test_a_plain_batch_and_a_prediction():
    model = begun()
    data = batch(2)
    losses = model.loss(*data)
    assert list(losses) == ['sup.decode.loss_ce', 'sup.decode.acc_seg']
    found = model.eval().predict(data.inputs)
    expected = model.teacher.predict(data.inputs)
    assert found[0].seg_logits.data.equal(expected[0].seg_logits.data)


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (
            dict(contrast=dict(bank=dict(size=0))),
            'model.contrast.bank.size must be an integer >= 1, but got 0',
        ),
        (
            dict(contrast=dict(num_part=3)),
            "model.contrast has no setting 'num_part'.*did you mean 'num_parts'",
        ),
        (
            dict(contrast=dict(feature='pre_cls')),
            'model.contrast: feature must be a pair of layers',
        ),
        (
            dict(pseudo_label=dict(top_p=2)),
            r'model.pseudo_label.top_p must be in \[0, 1\], but got 2',
        ),
        (dict(top_p=0.9), r'no setting .top_p. \(did you mean pseudo_label.top_p'),
        (dict(teacher=dict(mood='eval')), "model.teacher has no setting 'mood'"),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        MODELS.build(dict(type='ESL', student=student_cfg(), **settings))
