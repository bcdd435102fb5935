"""The contrast of CTT: its anchors, its banks, when it begins, other methods."""

import copy
import math

import pytest
import torch
from ctt_models import CONTRAST, fill, inputs_of, make, tiny_student, unlabeled_alone
from helpers import batch, build, total
from torch.testing import assert_close

from mmsemiseg.functional import PseudoLabel
from mmsemiseg.models.adapter import SegmentorOutput
from mmsemiseg.models.contrast import Pass
from mmsemiseg.models.data_preprocessor import Batch

# Anchors


def cells_of(model, label, pseudo):
    """Class and confidence of the cells of student 0, and of its logits there."""
    n, side, contrast = 1, 2, model.contrast
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(n, 3, side, side, generator=generator)
    output = SegmentorOutput(logits, torch.ones(n, contrast.banks[0].dim, side, side))
    inputs = batch(n, size=(4, 4))
    inputs.data_samples[0].gt_sem_seg.data = label.repeat_interleave(
        2, 0
    ).repeat_interleave(2, 1)[None]
    pseudo = pseudo.repeat_interleave(2, 0).repeat_interleave(2, 1)[None]
    pseudo = PseudoLabel(pseudo, torch.ones_like(pseudo).float(), pseudo != 255)
    anchors = contrast.anchors(0, inputs, Pass(output, output), pseudo)
    if contrast.cells.read_at == 'pixel':  # the first of the four pixels of a cell
        logits = torch.nn.functional.interpolate(logits, (4, 4), mode='bilinear')
        logits = logits[:, :, ::2, ::2]
    return anchors, logits.softmax(1).max(1)


@pytest.mark.parametrize('read_at', ['pixel', 'cell'])
@pytest.mark.parametrize('rule', ['label', 'self', 'pseudo'])
def test_classes_of_anchors(rule, read_at):
    model = make(contrast=dict(anchor_label=rule, read_at=read_at))
    label, pseudo = torch.tensor([[0, 255], [2, 1]]), torch.tensor([[1, 2], [255, 0]])
    anchors, (confidence, seen) = cells_of(model, label, pseudo)
    assert_close(anchors.confidence, confidence.flatten().repeat(2))
    seen = seen.flatten().tolist()
    given = dict(
        label=[0, -1, 2, 1, *seen[:2], -1, seen[3]],
        self=[seen[0], -1, *seen[2:], *seen[:2], -1, seen[3]],
        pseudo=[0, -1, 2, 1, 1, 2, -1, 0],
    )
    assert anchors.label.tolist() == given[rule]
    assert given['label'] != given['self']


def labels_of(model, inputs):
    """Classes of the cells of student 0, (labeled, unlabeled)."""
    found, anchors = [], model.contrast.anchors

    def spy(*args):
        found.append(anchors(*args))
        return found[-1]

    model.contrast.anchors = spy
    model.loss(inputs)
    model.contrast.anchors = anchors
    return found[0].label.view(2, -1, 4, 4)


def test_padded_cells_and_those_without_label_take_no_part():
    model = fill(make())
    labeled, unlabeled = labels_of(model, inputs_of(1))
    without = torch.zeros(2, 4, 4, dtype=torch.bool)
    without[0, :2] = True
    assert torch.equal(labeled < 0, without)
    padded = torch.zeros(2, 4, 4, dtype=torch.bool)
    padded[:, :, 3] = True
    assert torch.equal(unlabeled < 0, padded)


@pytest.mark.parametrize('rule', ['label', 'pseudo'])
def test_another_ignored_label(rule):
    """A head whose ignored label is a class: its pixels are no anchors.

    In pseudo labels it is a class as any other.
    """
    student = tiny_student(decode_head=dict(ignore_index=0))
    inputs = inputs_of(1)
    inputs['labeled'].data_samples[0].gt_sem_seg.data[:, :5] = 0
    labeled, unlabeled = labels_of(
        fill(make(student, contrast=dict(anchor_label=rule))), inputs
    )
    assert unlabeled[:, :, :3].ge(0).all()
    assert unlabeled.eq(0).any()
    label = torch.cat([s.gt_sem_seg.data for s in inputs['labeled'].data_samples])
    label = label[:, ::4, ::4]
    assert torch.equal(labeled, torch.where(label == 0, -1, label))


# Banks


def candidates(model, index, labeled):
    return model.contrast.candidates(model, index, labeled)


def test_only_well_predicted_labeled_pixels_enter():
    model, inputs = make(contrast=dict(enqueue_number=2)), inputs_of(1)
    labeled = inputs['labeled']
    for right in (True, False):
        for index, pair in enumerate(model.pairs):
            logits = model.adapter.inference(pair.teacher, labeled.inputs)
            label = logits.argmax(1) if right else (logits.argmax(1) + 1) % 3
            for sample, one in zip(labeled.data_samples, label, strict=True):
                sample.gt_sem_seg.data = one[None]
            group = candidates(model, index, labeled)['label']
            if not right:
                assert group.eq(-1).all()
                continue
            present = label[:, ::4, ::4].unique(return_counts=True)
            for c, count in zip(*(x.tolist() for x in present), strict=True):
                assert (group == c).sum() == min(2, count)


@pytest.mark.parametrize('select', ['top', 'random'])
def test_which_ones_enter(select):
    """The most confident ones, or others from step to step."""
    model, inputs = (
        make(contrast=dict(enqueue_select=select, enqueue_number=2)),
        inputs_of(1),
    )
    found = []
    for seed in range(4):
        torch.manual_seed(seed)
        found.append(candidates(model, 0, inputs['labeled'])['features'])
    same = [torch.equal(found[0], other) for other in found[1:]]
    assert all(same) if select == 'top' else not all(same)


@pytest.mark.parametrize(
    ('rule', 'labels', 'number'),
    [
        ('labeled/size', 3, 1),
        ('labeled/size', 24, 3),
        ('labeled/size', 31, 3),
        ('labeled/size', 9000, 8),
        ('size/labeled', 1, 8),
        ('size/labeled', 3, 2),
        ('size/labeled', 100, 1),
        (5, 100, 5),
        (5, None, 5),
    ],
)
def test_how_many_enter(rule, labels, number):
    """Of N = 8: labels / N or N / labels, at least 1 and never more than N."""
    model = make(contrast=dict(bank=dict(size=8), enqueue_number=rule))
    if labels is not None:
        model.set_stream_sizes(dict(labeled=labels), dict(labeled=2))
    assert model.contrast.banks.number_to_enqueue() == number
    model.loss(inputs_of(n=4))
    rows = model.step_outputs['memory']
    most = max((rows['contrast.label0'] == c).sum() for c in range(3))
    assert most == min(number, most) and (most > 1) == (number > 1)


@pytest.mark.parametrize('rule', ['labeled/size', 'size/labeled'])
def test_a_rule_without_the_number_of_labels(rule):
    with pytest.raises(RuntimeError, match=f"enqueue_number='{rule}' needs the number"):
        make(contrast=dict(enqueue_number=rule)).loss(inputs_of())


def labeled_as_predicted(model, labeled):
    """By the first teacher, with all classes."""
    logits = model.adapter.inference(model.pairs[0].teacher, labeled.inputs)
    label = logits.argmax(1)
    assert set(label.unique().tolist()) == {0, 1, 2}
    for sample, one in zip(labeled.data_samples, label, strict=True):
        sample.gt_sem_seg.data = one[None]
    return labeled


@pytest.mark.parametrize('select', ['top', 'random'])
def test_of_several_batches_the_best_enter(select):
    """k of a class in a step, as if they were one batch; -1 is not entered."""
    model = make(
        contrast=dict(bank=dict(size=8), enqueue_number=2, enqueue_select=select)
    )
    dim = model.contrast.banks[0].dim
    rows = torch.arange(6.0)[:, None].expand(6, dim)
    label = torch.tensor([0, 0, 1, -1, 0, 1])
    score = torch.tensor([0.5, 0.9, 0.7, 1.0, 0.6, 0.8])
    parts = dict(features=rows, label=label, score=score)
    both = {f'contrast.{name}{i}': part for name, part in parts.items() for i in (0, 1)}
    model.update_memory(**both)
    for bank in model.contrast.banks:
        assert bank.count.tolist() == [2, 2, 0]
        assert bank.features[0, :2, 0].tolist() == [1, 4]
        assert bank.features[1, :2, 0].tolist() == [2, 5]


def test_halves_of_a_batch_enter_what_the_whole_does():
    """As with accumulation, and with several processes."""
    model = make(contrast=dict(bank=dict(size=8), enqueue_number=2))
    labeled = labeled_as_predicted(model, inputs_of(1, n=4)['labeled'])
    halves = [
        Batch(labeled.inputs[part], labeled.data_samples[part])
        for part in (slice(2), slice(2, 4))
    ]
    whole, banks = candidates(model, 0, labeled), []
    parts = [candidates(model, 0, half) for half in halves]
    for new in (whole, {k: torch.cat([part[k] for part in parts]) for k in whole}):
        model.contrast.banks[0].count.zero_()
        model.contrast.banks[0].pointer.zero_()
        model.update_memory(
            **{f'contrast.{name}{i}': x for name, x in new.items() for i in (0, 1)}
        )
        banks.append(copy.deepcopy(model.contrast.banks[0]))
    assert banks[0].count.tolist() == banks[1].count.tolist() == [2, 2, 2]
    assert_close(banks[0].features, banks[1].features)
    assert sum((part['label'] >= 0).sum() for part in parts) > banks[0].count.sum()


def test_pixels_with_an_ignored_class_do_not_enter():
    """Though they are predicted as labeled."""
    student = tiny_student(decode_head=dict(ignore_index=0))
    model = make(student, contrast=dict(enqueue_number=3))
    labeled = labeled_as_predicted(model, inputs_of(1)['labeled'])
    assert set(candidates(model, 0, labeled)['label'].tolist()) == {-1, 1, 2}


FULL = (3, 3, 3)
GATES = [
    # counts of both banks, (hc0, hc1, lc) with 'all', 'any', 'class', levels apart;
    # whether they begin together
    ([FULL, FULL], (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)),
    ([(0, 0, 0), (0, 0, 0)], (0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)),
    ([(2, 2, 2), FULL], (0, 1, 0), (0, 1, 0), (0, 1, 0), (0, 0, 0)),
    ([(3, 3, 0), FULL], (0, 1, 0), (1, 1, 1), (1, 1, 1), (0, 1, 1)),
    ([(3, 0, 0), FULL], (0, 1, 0), (0, 1, 1), (0, 1, 1), (0, 1, 1)),
    ([(3, 3, 2), (3, 2, 3)], (0, 0, 0), (1, 1, 1), (1, 1, 1), (0, 1, 1)),
]


@pytest.mark.parametrize('case', GATES, ids=lambda case: str(case[0]))
def test_when_the_contrast_begins(case):
    """One class alone, (3, 0, 0), has no negatives of its own bank."""
    counts, *expected, together = case
    contrast = dict(lc_direction=False, threshold=0.5, anchor_label='self')
    inputs = unlabeled_alone(inputs_of(1, n=4))
    models = make(contrast=contrast)
    modes = zip(('all', 'any', 'class'), expected, together, strict=True)
    for mode, wanted, begun in modes:
        high0, high1, low = wanted
        for rule in ('apart', 'together'):
            model = fill(copy.deepcopy(models), counts)
            model.contrast.banks.ready = mode
            model.contrast.levels_begin = rule
            losses = model.loss(inputs)
            found = [losses[f'loss_{key}'] > 0 for key in ('hc0', 'hc1', 'lc0', 'lc1')]
            held = rule == 'together' and not begun
            assert found == [held < x for x in (high0, high1, low, low)], (mode, rule)
        total(losses).backward()
        short = {c for row in counts for c, n in enumerate(row) if n < 3}
        if mode == 'any':
            none = [all(n < 3 for n in row) for row in counts]
            short = {0, 1, 2} if any(none) else set()
        assert model.unready_classes() == sorted(short)


def test_class_by_class_the_levels_begin_together():
    """No cell of a class learns before its queues are full in both banks."""
    counts = [(3, 3, 2), (3, 3, 3)]
    settings = dict(lc_direction=False, anchor_label='self', ready='class')
    learning = {}
    for rule in ('apart', 'together'):
        model = fill(make(contrast=dict(levels_begin=rule, **settings)), counts)
        learning[rule] = []
        high_level = model.contrast.loss.high_level

        def spy(anchors, bank, seen=learning[rule], high_level=high_level):
            seen.append(bank.ready.tolist())
            return high_level(anchors, bank)

        model.contrast.loss.high_level = spy
        model.loss(unlabeled_alone(inputs_of(1)))
    assert learning['apart'] == [[True, True, False], [True, True, True]]
    assert learning['together'] == [[True, True, False]] * 2


def test_class_by_class_only_full_queues_are_keys():
    """What lies in a queue that is not full changes nothing."""
    model = make(contrast=dict(ready='class', lc_direction=False))
    fill(model, [(3, 3, 2), (3, 3, 1)])
    inputs = unlabeled_alone(inputs_of(1))
    found = []
    for _ in range(2):
        with torch.no_grad():
            losses = model.loss(inputs)
        found.append([v.item() for k, v in losses.items() if '_hc' in k or '_lc' in k])
        for bank in model.contrast.banks:
            bank.features[2].neg_()
    assert found[0] == found[1]
    model.contrast.banks.ready = 'any'
    with torch.no_grad():
        assert model.loss(inputs)['loss_hc0'].item() != found[0][0]


@pytest.mark.parametrize('mode', ['all', 'any', 'class'])
def test_a_bank_that_never_fills(mode):
    """No pixel is labeled as class 2."""
    model = make(
        contrast=dict(ready=mode, projector=dict(channels=4), enqueue_number=2)
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    values = []
    for seed in range(6):
        inputs = inputs_of(seed)
        for sample in inputs['labeled'].data_samples:
            label = sample.gt_sem_seg.data
            label[label == 2] = 0
        losses = model.loss(inputs)
        values.append([losses[f'loss_{key}'].item() for key in ('hc0', 'hc1', 'lc0')])
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        model.update_memory(**model.step_outputs['memory'])
        model.update_teacher(0.9)
    assert [bank.count.tolist() for bank in model.contrast.banks] == [[3, 3, 0]] * 2
    if mode == 'all':
        assert all(value == 0 for step in values for value in step)
        assert all(
            p.grad.eq(0).all()
            for p in model.contrast.head_pairs[0].student.parameters()
        )
    else:
        assert all(value > 0 for value in values[-1][:2])
    assert model.unready_classes() == ([] if mode == 'any' else [2])
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_a_step_sees_its_own_rows():
    """The bank as it will be: full after this step, so contrasted in it."""
    model = fill(
        make(contrast=dict(enqueue_number=3, levels_begin='apart')), [(2, 2, 2)] * 2
    )
    losses = model.loss(inputs_of(1, n=4))
    rows = model.step_outputs['memory']
    labels = [rows[f'contrast.label{index}'] for index in (0, 1)]
    for index, label in enumerate(labels):
        entered = all((label == c).any() for c in range(3))
        assert (losses[f'loss_hc{index}'] > 0) == entered
        assert model.contrast.banks[index].count.tolist() == [2, 2, 2]
    assert any(all((label == c).any() for c in range(3)) for label in labels)


# In other methods


@pytest.mark.parametrize('type', ['CPS', 'MeanTeacher', 'FixMatch'])
def test_in_other_methods(type):
    """By settings alone: losses, gradients, rows of the students or teachers."""
    student, one = type != 'MeanTeacher', type != 'CPS'
    contrast = dict(keys_from='student' if student else 'teacher')
    if one:
        contrast['lc_weight'] = 0
    model = fill(make(type=type, contrast=contrast))
    without = make(type=type, contrast=None)
    inputs = inputs_of(1)
    torch.manual_seed(1)
    losses = model.loss(inputs)
    torch.manual_seed(1)
    expected = without.loss(inputs)
    added = set(losses) - set(expected)
    assert added == (
        {'loss_hc'} if one else {'loss_hc0', 'loss_hc1', 'loss_lc0', 'loss_lc1'}
    )
    for name, value in expected.items():
        assert_close(losses[name], value)
    assert all(losses[name] > 0 for name in added)
    sum(losses[name] for name in added).backward()
    for pair in model.pairs:
        grads = [p.grad for p in pair.student.backbone.parameters()]
        assert any(grad is not None and grad.ne(0).any() for grad in grads)
    before = [bank.features.clone() for bank in model.contrast.banks]
    model.update_memory(**model.step_outputs['memory'])
    for bank, old in zip(model.contrast.banks, before, strict=True):
        assert not torch.equal(bank.features, old)


def test_rows_of_the_student_are_those_of_the_pass_that_it_learns():
    model, inputs, seen = make(type='CPS', contrast={}), inputs_of(1), []
    model.student.backbone.register_forward_hook(lambda *args: seen.append(1))
    model.loss(inputs)
    rows, label = (
        model.step_outputs['memory'][f'contrast.{name}0']
        for name in ('features', 'label')
    )
    assert len(seen) == 3  # of which one labels the weak view
    assert not rows.requires_grad
    student = model.student
    with torch.no_grad():
        features = model.adapter(student, inputs['labeled'].inputs).features
        features = torch.nn.functional.normalize(features.permute(0, 2, 3, 1), dim=-1)
    distance = torch.cdist(rows[label >= 0], features.flatten(0, 2)).min(1).values
    assert_close(distance, torch.zeros_like(distance), atol=1e-3, rtol=0)
    assert (label >= 0).any()


def test_cmb_and_ctt_exchange_their_contrasts():
    """By settings alone."""
    inputs = inputs_of(1)
    inputs['unlabeled'] = inputs['unlabeled']['weak']
    peer = dict(type='PeerContrast', lc_weight=0, **CONTRAST)
    bank = dict(type='BankContrast', start=0, candidates=dict(number=1, start=0))
    bank.update(proj_hidden=6, proj_channels=5, bank=dict(size=3))
    for method, contrast, names in (
        ('CMB', peer, {'loss_hc'}),
        ('CTT', bank, {'loss_contrast0', 'loss_contrast1'}),
    ):
        settings = dict(type=method, student=tiny_student(), contrast=contrast)
        model = build(settings).train()
        losses = model.loss(inputs)
        assert names <= set(losses)
        assert not any('_lc' in name for name in losses)
        total(losses).backward()
        model.update_memory(**model.step_outputs['memory'])
        assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize('keys_from', ['teacher', 'student'])
def test_rows_of_another_domain(keys_from):
    """Images of the domain of the unlabeled ones, where others are learned."""
    model, inputs = make(contrast=dict(keys_from=keys_from)), inputs_of(1)
    labeled, target = inputs['labeled'], inputs_of(2)['labeled']
    images = inputs['unlabeled']['strong'].inputs
    _, passes = model.student_passes(labeled, images)
    pseudo = model.pseudo_labels(images, inputs['unlabeled']['strong'].valid)
    model.contrast(model, labeled, passes, pseudo, target=target)
    found = model.step_outputs['memory']['contrast.features0']
    expected = model.contrast.candidates(model, 0, target)['features']
    assert_close(found, expected)
    assert found.shape != passes[0].labeled.features.shape


# Settings


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(feature=None), ' must not be None'),
        (dict(feature='stage0'), " must be 'pre_cls'"),
        (dict(temperature=0), ' must be > 0, but got 0'),
        (dict(threshold=1.5), r' must be in \[0, 1\], but got 1.5'),
        (dict(norm='valid'), " must be in .* 'valid'"),
        (dict(lc_class='both'), " must be in .* 'both'"),
        (dict(lc_reduce='max'), " must be in .* 'max'"),
        (dict(anchor_label='peer'), " must be in .* 'peer'"),
        (dict(ready='none'), " must be in .* 'none'"),
        (dict(levels_begin='now'), " must be in .* 'now'"),
        (dict(read_at='image'), " must be in .* 'image'"),
        (dict(enqueue_select='last'), " must be in .* 'last'"),
        (dict(keys_from='peer'), " must be in .* 'peer'"),
        (dict(hc_weight=math.nan), ' must be a number >= 0, but got nan'),
        (dict(hc_weight=math.inf), ' must be a number >= 0, but got inf'),
        (dict(lc_weight=-1), ' must be a number >= 0, but got -1'),
        (dict(hc_weight=0, lc_weight=0), ' must be above 0 .* set contrast=None'),
        (dict(threshold=1, lc_weight=0), ' must be below 1 with lc_weight=0, .* 1'),
        (dict(threshold=0, hc_weight=0), ' must be above 0 with hc_weight=0, .* 0'),
        (dict(max_anchors=0), ' must be an integer >= 1, but got 0'),
        (dict(max_anchors=0.5), ' must be an integer >= 1, but got 0.5'),
        (dict(enqueue_number=0), r" integer >= 1, or in .*'labeled/size', .* 0"),
        (dict(enqueue_number=1.5), ' must be an integer >= 1'),
        (dict(enqueue_number=True), ' must be an integer >= 1'),
        (dict(enqueue_number='half'), r" or in .*'size/labeled'.*, but got 'half'"),
        (dict(enqueue_number=129), r' must be at most bank\.size=128, but got 129'),
        (
            dict(normalize=False, projector=dict(channels=4)),
            ' must be True with a proj',
        ),
        (dict(bank=dict(size=0)), r'\.size must be an integer >= 1, but got 0'),
        (dict(bank=dict(sise=9)), " has no setting 'sise'.*'size'"),
        (dict(bank=dict(type='StepQueue')), r'\.type must be in'),
        (dict(projector=dict(channels=0)), r'\.channels must be at least 1, but got 0'),
    ],
)
def test_wrong_settings_are_named_by_their_path(settings, message):
    name = f'model.contrast.{next(iter(settings))}'
    with pytest.raises(ValueError, match=name.replace('.', r'\.') + '.*' + message):
        build(dict(type='CTT', student=tiny_student(), contrast=settings))


@pytest.mark.parametrize(
    ('method', 'message'),
    [
        (dict(type='CTT', num_pairs=1), 'lc_weight must be 0 with one student'),
        (dict(type='MeanTeacher'), 'lc_weight must be 0 with one student'),
        (dict(type='CPS'), "keys_from must be 'student' in a method without teachers"),
    ],
)
def test_methods_that_it_does_not_fit(method, message):
    contrast = dict(type='PeerContrast', **CONTRAST)
    with pytest.raises(ValueError, match=rf'model\.contrast\.{message}'):
        build(dict(student=tiny_student(), contrast=contrast, **method))


def test_it_takes_one_layer():
    contrast = dict(feature=['pre_cls', 'stage1'])
    with pytest.raises(ValueError, match=r'model\.contrast.*feature must be one layer'):
        build(dict(type='CTT', student=tiny_student(), contrast=contrast))
