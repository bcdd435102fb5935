import copy
import math
from importlib import import_module

import pytest
import torch
from helpers import batch, build, streams, student_cfg
from no_sync import NoHostSync
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from mmsemiseg.functional import (
    PseudoLabel,
    class_mean,
    compact,
    draw_anchors,
    draw_own_negatives,
    draw_positives,
    draw_shared_negatives,
    info_nce,
    paired_logit,
    shared_logsumexp,
)
from mmsemiseg.models import MeanTeacher
from mmsemiseg.models.adapter import SegmentorOutput
from mmsemiseg.models.contrast import PartContrast, Parts, PartView, Pass
from mmsemiseg.models.contrast.part_anchors import part_anchors
from mmsemiseg.models.heads import ConvBlocks, ProjectionHead

CLASSES = 3


class Method(torch.nn.Module):
    """What a part contrast reads of its method."""

    views_parts = True
    num_classes = CLASSES
    ignore_index = 255
    align_corners = False

    def __init__(self, width=4, part_width=2):
        super().__init__()
        self.feature_channels = (width, part_width)
        self.left = {}

    def make_pair(self, head):
        return head

    def remember(self, part, **rows):
        self.left = rows

    def upsampled(self, maps, images):
        return torch.nn.functional.interpolate(
            maps, images.shape[-2:], mode='bilinear', align_corners=False
        )


def contrast(method=None, **settings):
    method = method or Method()
    default = dict(
        num_parts=2, projector=None, bank=dict(size=3), num_negatives=4, threshold=0.5
    )
    return PartContrast(method, **{**default, **settings}), method


def fill(part, seed=0, holes=True):
    """A bank whose queues are full, partly full and, some of them, empty."""
    g = torch.Generator().manual_seed(seed)
    n = 40
    group = torch.randint(part.bank.groups, (n,), generator=g)
    if holes:
        group = torch.where(group == 1, 0, group)
        group[torch.arange(n) > 9] = -1
    rows = torch.randn(n, part.bank.dim, generator=g)
    part.bank.enqueue(torch.nn.functional.normalize(rows, dim=1), group)


def outputs(seed, n=2, size=(3, 4)):
    g = torch.Generator().manual_seed(seed)
    features = torch.randn(n, 4, *size, generator=g)
    return SegmentorOutput(None, (features.requires_grad_(), None))


def random_case(seed, part):
    """Outputs, pseudo labels of 6x8 pixels, parts of 3x4 cells; some have none."""
    g = torch.Generator().manual_seed(seed)
    passes = [Pass(outputs(seed), outputs(seed + 100, n=3))]
    confidence = torch.rand(3, 6, 8, generator=g)
    pseudo = PseudoLabel(None, confidence, None)
    groups = part.bank.groups
    maps = [torch.randint(-1, groups, (n, 3, 4), generator=g) for n in (2, 3)]
    return passes, pseudo, Parts(maps, torch.zeros(0, 4), torch.zeros(0).long())


def slow_loss(part, passes, pseudo, parts):
    """The paper's sum over anchors, classes and keys; the same draws, no tensors."""
    rows, group, image = [], [], []
    for one, (output, map_) in enumerate(zip(passes[0], parts.maps, strict=True)):
        for n in range(len(map_)):
            for y in range(3):
                for x in range(4):
                    k = map_[n, y, x].item()
                    sure = pseudo.confidence[n, 2 * y, 2 * x] if one else 1.0
                    rows.append(output.features[0][n, :, y, x])
                    group.append(k if sure > part.threshold else -1)
                    image.append(n + one * len(parts.maps[0]))
    images = max(image) + 1
    scopes = CLASSES * (images if part.anchor_scope == 'image' else 1)
    label = [-1 if k < 0 else k // part.num_parts for k in group]
    if part.anchor_scope == 'image':
        label = [
            -1 if c < 0 else i * CLASSES + c for c, i in zip(label, image, strict=True)
        ]
    index, scope = draw_anchors(
        torch.tensor(label), scopes, part.anchor_share, part.max_anchors
    )
    index, scope = index[scope >= 0].tolist(), scope[scope >= 0].tolist()
    own = torch.tensor([group[i] for i in index], dtype=torch.int64)
    filled, keys = part.bank.filled(), part.bank.features.flatten(0, 1)
    positive = draw_positives(filled, own)
    left_out = part.num_parts if part.exclude_same_class else 1
    if part.negatives == 'part':
        shared = draw_shared_negatives(filled, part.num_negatives, left_out)
        negative = shared[own]
    else:
        negative = draw_own_negatives(filled, own, part.num_negatives, left_out)
    losses = {}
    for i, c, p, places in zip(
        index, scope, positive.tolist(), negative.tolist(), strict=True
    ):
        if p < 0 or places[0] < 0:
            continue
        v = rows[i] / rows[i].norm()

        def phi(place, v=v):
            cosine = v @ keys[place] / keys[place].norm()
            return (cosine / part.temperature).exp()

        total = phi(p) + sum(phi(j) for j in places)
        losses.setdefault(c, []).append(-(phi(p) / total).log())
    zero = sum(row.sum() * 0 for row in rows)
    return part.weight * (
        sum((sum(one) / len(one) for one in losses.values()), zero) / scopes
    )


@pytest.mark.parametrize(
    'settings',
    [
        {},
        dict(anchor_share=0.3),
        dict(anchor_share=1.0, max_anchors=2),
        dict(anchor_share=0.5, anchor_scope='image'),
        dict(anchor_share=1.0, negatives='anchor', weight=3),
        dict(anchor_share=1.0, exclude_same_class=True, temperature=0.1),
        dict(anchor_share=1.0, negatives='anchor', exclude_same_class=True),
        dict(anchor_share=1.0, num_parts=1),
        dict(anchor_share=1.0, num_negatives=50, threshold=0.0),
    ],
    ids=str,
)
@pytest.mark.parametrize('holes', [True, False])
def test_loss_and_gradient_equal_the_slow_reference(holes, settings):
    part, method = contrast(**settings)
    fill(part, holes=holes)
    some = 0
    for seed in range(4):
        passes, pseudo, parts = random_case(seed, part)
        inputs = [output.features[0] for output in passes[0]]
        torch.manual_seed(seed)
        loss = part(method, None, passes, [pseudo], parts)['loss_ctr']
        torch.manual_seed(seed)
        expected = slow_loss(part, passes, pseudo, parts)
        assert_close(loss, expected)
        mine = torch.autograd.grad(loss, inputs)
        for got, theirs in zip(
            mine, torch.autograd.grad(expected, inputs), strict=True
        ):
            assert_close(got, theirs, atol=1e-6, rtol=1e-4)
        some += sum(one.abs().sum().item() for one in mine)
    assert some > 0


def test_loss_by_hand():
    """Class 0 has two anchors, class 1 one, class 2 none; sigma is 1/2."""
    anchors = torch.tensor([[1.0, 0], [0, 1], [-1, 0]], requires_grad=True)
    positives = torch.tensor([[2.0, 1], [1, 1], [-1, 1]])
    negatives = torch.tensor(
        [
            [[0.0, 1], [-1, 0], [-1, -1]],
            [[1, 0], [-1, 0], [0, -1]],
            [[1, 0], [0, 1], [0, -1]],
        ]
    )
    unit = torch.nn.functional.normalize
    keys = unit(negatives, dim=2).flatten(0, 1)
    index = torch.arange(9).view(3, 3)
    lse = shared_logsumexp(anchors, torch.arange(3), keys, index, 0.5)
    logit = paired_logit(anchors, unit(positives, dim=1), 0.5)
    label = torch.tensor([0, 0, 1])
    loss = class_mean(info_nce(lse, logit), label, 3)
    assert loss.item() == pytest.approx(0.243629, abs=1e-6)


def test_what_is_no_anchor_gets_no_gradient():
    part, method = contrast(anchor_share=1.0)
    fill(part, holes=False)
    passes, pseudo, parts = random_case(0, part)
    loss = part(method, None, passes, [pseudo], parts)['loss_ctr']
    labeled, unlabeled = torch.autograd.grad(
        loss, [output.features[0] for output in passes[0]]
    )
    anchor = parts.maps[0] >= 0
    assert labeled.abs().sum(1)[~anchor].eq(0).all()
    assert labeled.abs().sum(1)[anchor].gt(0).all()
    sure = pseudo.confidence[:, ::2, ::2] > part.threshold
    anchor = (parts.maps[1] >= 0) & sure
    assert unlabeled.abs().sum(1)[~anchor].eq(0).all()
    assert unlabeled.abs().sum(1)[anchor].gt(0).all()


@pytest.mark.parametrize('case', ['bank', 'one queue', 'parts', 'confidence'])
def test_every_empty_case_gives_a_zero_with_a_gradient(case):
    part, method = contrast(anchor_share=1.0)
    if case == 'one queue':
        part.bank.enqueue(torch.ones(3, 4), torch.zeros(3).long())
    elif case != 'bank':
        fill(part, holes=False)
    passes, pseudo, parts = random_case(0, part)
    if case in ('parts', 'confidence'):
        parts.maps[0].fill_(-1)
    if case == 'parts':
        parts.maps[1].fill_(-1)
    if case == 'confidence':
        pseudo = pseudo._replace(confidence=torch.full((3, 6, 8), part.threshold))
    loss = part(method, None, passes, [pseudo], parts)['loss_ctr']
    assert loss.item() == 0
    for grad in torch.autograd.grad(loss, [o.features[0] for o in passes[0]]):
        assert grad.eq(0).all()


def test_the_bank_gets_no_gradient_and_no_host_sync(monkeypatch):
    part, method = contrast()
    fill(part)
    passes, pseudo, parts = random_case(0, part)
    monkeypatch.setattr(compact, 'DEVICES', ())
    before = part.bank.features.clone()
    with NoHostSync():
        part(method, None, passes, [pseudo], parts)['loss_ctr'].backward()
    assert part.bank.features.equal(before)
    assert not part.bank.features.requires_grad


def test_off_the_cpu_the_loss_is_the_same(monkeypatch):
    part, method = contrast(anchor_share=1.0, num_negatives=60)
    fill(part, holes=False)
    passes, pseudo, parts = random_case(0, part)
    torch.manual_seed(0)
    losses = [part(method, None, passes, [pseudo], parts)['loss_ctr'].item()]
    monkeypatch.setattr(compact, 'DEVICES', ())
    for seed in range(5):  # other rows, so other random numbers
        torch.manual_seed(seed)
        losses.append(part(method, None, passes, [pseudo], parts)['loss_ctr'].item())
    assert max(losses) - min(losses) < 0.1 * min(losses)


@pytest.mark.parametrize('per_image', [False, True])
@pytest.mark.parametrize('devices', [('cpu',), ()])
def test_labeled_and_unlabeled_images_may_differ_in_size(
    devices, per_image, monkeypatch
):
    monkeypatch.setattr(compact, 'DEVICES', devices)
    g = torch.Generator().manual_seed(0)
    shapes = (2, 3, 5), (3, 2, 2)
    features = [torch.randn(n, 4, h, w, generator=g) for n, h, w in shapes]
    maps = [torch.randint(-1, 6, shape, generator=g) for shape in shapes]
    found = part_anchors(features, torch.neg, maps, 3, 2, 1.0, per_image=per_image)
    cells = [
        (one[n, :, y, x], k, scope)
        for first, one, of in zip((0, 2), features, maps, strict=True)
        for n, y, x in torch.ones_like(of).nonzero().tolist()
        if (k := of[n, y, x].item()) >= 0
        for scope in [k // 2 + 3 * (first + n) * per_image]
    ]
    rows, part, scope = zip(*cells, strict=True)
    kept = found.part >= 0
    assert_close(found.rows[kept], -torch.nn.functional.normalize(torch.stack(rows)))
    assert found.part[kept].tolist() == list(part)
    assert found.scope[kept].tolist() == list(scope)
    assert found.scope[~kept].eq(-1).all()
    assert found.number == (15 if per_image else 3)


# Reading the teacher's view


def views(part, method, seed=0):
    g = torch.Generator().manual_seed(seed)
    found = []
    for n in (2, 3):
        features = torch.randn(n, 4, 6, 8, generator=g)
        deep = torch.randn(n, 2, 3, 4, generator=g)
        label = torch.randint(-1, CLASSES, (n, 12, 16), generator=g)
        confidence = torch.rand(n, 12, 16, generator=g) if n == 3 else None
        found.append(PartView((features, deep), label, confidence))
    begin = torch.randn(60, 2, generator=g), torch.arange(60) % CLASSES
    part.prototypes.begin(*begin)
    return found


@pytest.mark.parametrize('grid', ['encoder', 'embedding'])
@pytest.mark.parametrize('threshold', [0.0, 0.6])
def test_means_and_sums_equal_loops(threshold, grid):
    part, method = contrast(part_threshold=threshold, prototype_grid=grid)
    given = views(part, method)
    found = part.read(method, *given)
    means, sums, counts = {}, torch.zeros(6, 2), torch.zeros(6)
    for v, view in enumerate(given):
        feature, deep = view.features
        large = method.upsampled(deep, view.label)
        for n in range(len(feature)):
            cells = {}
            for y, x in torch.ones(6, 8).nonzero().tolist():
                pixel = n, 2 * y, 2 * x
                c = view.label[pixel].item()
                k = -1
                if c >= 0:
                    e = large[n, :, 2 * y, 2 * x]
                    p = part.prototypes.vectors[c]
                    k = c * 2 + (p @ e / p.norm(dim=1)).argmax().item()
                assert found.maps[v][n, y, x] == k
                sure = view.confidence is None or view.confidence[pixel] >= threshold
                if k >= 0 and sure:
                    cells.setdefault(k, []).append(feature[n, :, y, x])
                    if grid == 'embedding':
                        sums[k] += large[n, :, 2 * y, 2 * x]
                        counts[k] += 1
                    elif y % 2 == x % 2 == 0:
                        sums[k] += deep[n, :, y // 2, x // 2]
                        counts[k] += 1
            for k, rows in cells.items():
                means[v, n, k] = sum(rows) / len(rows)
    rows = method.left['features'], method.left['group']
    kept = {
        divmod(i, 6): row
        for i, (row, k) in enumerate(zip(*rows, strict=True))
        if k >= 0
    }
    expected = {(n + 2 * v, k): mean for (v, n, k), mean in means.items()}
    assert set(kept) == set(expected)
    for place, mean in expected.items():
        assert_close(kept[place], mean / mean.norm())
        assert method.left['group'][place[0] * 6 + place[1]] == place[1]
    assert_close(method.left['sums'][0], sums)
    assert_close(method.left['counts'][0], counts)


def test_rows_enter_queues_and_prototypes():
    part, method = contrast()
    part.read(method, *views(part, method))
    before = part.prototypes.vectors.clone()
    assert set(method.left) == {'features', 'group', 'sums', 'counts'}
    part.update_memory(**method.left)
    assert part.bank.count.gt(0).all()
    sums, counts = method.left['sums'][0], method.left['counts'][0]
    expected = 0.99 * before + 0.01 * (sums / counts[:, None]).view(3, 2, 2)
    assert_close(part.prototypes.vectors, expected)
    assert part.unready_classes() == []


def forget(prototypes, c):
    """As if no image had the class yet."""
    state = prototypes.state_dict()
    state['known'] = state['known'].clone()
    state['known'][c] = False
    prototypes.load_state_dict(state)


@pytest.mark.parametrize('devices', [('cpu',), ()])
def test_a_class_without_prototypes_begins_with_the_first_confident_pixels(
    devices, monkeypatch
):
    monkeypatch.setattr(compact, 'DEVICES', devices)
    part, method = contrast(threshold=0.5)
    given = views(part, method)
    forget(part.prototypes, 1)
    maps = part.read(method, *given).maps
    assert not any(((one == 2) | (one == 3)).any() for one in maps)
    label = method.left['first_label']
    assert label.unique().tolist() == [1]
    cells = sum(
        (
            (view.label[:, ::4, ::4] == 1)
            & (torch.tensor(True) if c is None else c[:, ::4, ::4] >= 0.5)
        ).sum()
        for view, c in ((v, v.confidence) for v in given)
    )
    assert len(label) == cells
    part.update_memory(**method.left)
    assert part.prototypes.complete
    part.read(method, *given)
    assert 'first' not in method.left


def test_a_step_waits_for_the_device_only_to_begin_a_class():
    part, method = contrast()
    given = views(part, method)
    part.read(method, *given)
    with NoHostSync():
        part.update_memory(**method.left)
        part.read(method, *given)
    forget(part.prototypes, 1)
    absent = [v._replace(label=v.label.where(v.label != 1, 0)) for v in given]
    part.read(method, *absent)
    assert method.left['first'].shape == (0, 2)
    with NoHostSync():
        part.update_memory(**method.left)


def test_enqueue_before_the_loss_has_the_means_of_all_processes(monkeypatch):
    part, method = contrast(enqueue='before', anchor_share=1.0, threshold=0.0)
    passes, pseudo, parts = random_case(0, part)
    theirs = torch.nn.functional.normalize(torch.randn(6, 4), dim=1), torch.arange(6)
    monkeypatch.setattr(
        'mmsemiseg.models.contrast.part_contrast.gather_rows',
        lambda rows: torch.cat([rows, theirs[rows.dim() == 1]]),
    )
    assert part(method, None, passes, [pseudo], parts)['loss_ctr'].item() > 0
    assert part.bank.count.eq(0).all()


def test_enqueue_before_the_loss_lets_anchors_meet_their_own_image():
    part, method = contrast(enqueue='before', anchor_share=1.0, threshold=0.0)
    passes, pseudo, parts = random_case(0, part)
    assert part(method, None, passes, [pseudo], parts)['loss_ctr'].item() == 0
    rows = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    parts = parts._replace(means=rows, group=torch.arange(6))
    assert part(method, None, passes, [pseudo], parts)['loss_ctr'].item() > 0
    assert part.bank.count.eq(0).all()


def test_the_last_map_is_mixed_as_the_images():
    maps = [torch.zeros(2, 1, 2).long(), torch.tensor([[[1, 2]], [[3, 4]]])]
    parts = Parts(maps, None, None)
    source = torch.tensor([[[0, 0, 1, 1]], [[1, 1, 0, 0]]])
    mixed = parts.mixed(source)
    assert mixed.maps[0] is maps[0]
    assert mixed.maps[1].tolist() == [[[1, 4]], [[3, 2]]]


# The projector's end sees the anchors and the means alone


class WholeBlocks(ConvBlocks):
    """Used as a map of all cells, as it has a ``forward`` of its own."""

    def forward(self, features):
        return self.layers(features)


class WholeProjection(ProjectionHead):
    def forward(self, features):
        return self.end(features)


class WithTeacher(Method):
    def make_pair(self, head):
        pair = torch.nn.Module()
        pair.student, pair.teacher = head, copy.deepcopy(head).eval()
        return pair


BLOCKS = dict(type=ConvBlocks, hidden_channels=3)
FORMS = {
    'two blocks': (BLOCKS, WholeBlocks),
    'three blocks': (BLOCKS | dict(num_blocks=3), WholeBlocks),
    'no block': (BLOCKS | dict(num_blocks=0), WholeBlocks),
    'projection': (dict(type=ProjectionHead), WholeProjection),
}


def in_double(projector, channels=7, **settings):
    torch.manual_seed(0)
    projector = dict(projector, channels=channels)
    part, method = contrast(WithTeacher(), projector=projector, **settings)
    return part.double(), method


def one_step(part, method, seed, case=''):
    """Loss, gradients, and means of the parts that images have, of a random step."""
    g = torch.Generator().manual_seed(seed)
    given = views(part, method, seed)
    for view in given:
        view.label[view.label == seed % CLASSES] = -1  # a class that is not there
        view.label[0, :6] = 1
    given = [v._replace(features=tuple(f.double() for f in v.features)) for v in given]
    fill(part, seed, holes=False)
    parts = part.read(method, *given)
    if case == 'no anchor':
        for one in parts.maps:
            one.fill_(-1)
    rows = [
        torch.randn(len(m), 4, 6, 8, generator=g).double().requires_grad_()
        for m in parts.maps
    ]
    passes = [Pass(*(SegmentorOutput(None, (one, None)) for one in rows))]
    pseudo = PseudoLabel(None, given[1].confidence, None)
    torch.manual_seed(seed)
    loss = part(method, None, passes, [pseudo], parts)['loss_ctr']
    inputs = [*rows, *part.head_pairs[0].student.parameters()]
    return loss, torch.autograd.grad(loss, inputs), parts


@pytest.mark.parametrize('devices', [('cpu',), ()])
@pytest.mark.parametrize('name', FORMS)
def test_it_equals_the_form_with_maps_of_embeddings(name, devices, monkeypatch):
    monkeypatch.setattr(compact, 'DEVICES', devices)
    settings, whole = FORMS[name]
    some = 0
    for seed in range(3):
        options = dict(anchor_share=(0.1, 0.3, 1.0)[seed])
        loss, grads, parts = one_step(*in_double(settings, **options), seed)
        mapped = one_step(*in_double(settings | dict(type=whole), **options), seed)
        assert_close(loss, mapped[0])
        for mine, theirs in zip(grads, mapped[1], strict=True):
            assert_close(mine, theirs)
            some += mine.abs().sum().item()
        assert parts.group.equal(mapped[2].group)
        there = parts.group >= 0
        assert not there.all()
        assert_close(parts.means[there], mapped[2].means[there])
    assert some > 0


@pytest.mark.parametrize('name', FORMS)
def test_without_an_anchor_the_projector_has_gradients_of_zero(name):
    loss, grads, _ = one_step(*in_double(FORMS[name][0]), 0, 'no anchor')
    assert loss.item() == 0
    assert all(grad.eq(0).all() for grad in grads)


@pytest.mark.parametrize('number', [2, 3])
def test_student_and_teacher_learn_as_with_maps(number):
    found = []
    for kind in (ConvBlocks, WholeBlocks):
        torch.manual_seed(0)
        projector = dict(type=kind, channels=9, hidden_channels=4, num_blocks=number)
        model = build(
            dict(
                type='ESL',
                student=student_cfg(),
                contrast=dict(projector=projector, threshold=0.0, anchor_share=0.5),
            )
        )
        part = model.contrast
        groups, classes = part.bank.groups, part.num_classes
        deep = part.prototypes.vectors.shape[2]
        part.prototypes.begin(torch.randn(60, deep), torch.arange(60) % classes)
        part.bank.enqueue(torch.randn(200, 9), torch.arange(200) % groups)
        losses = model.loss(streams())
        assert losses['loss_ctr'] > 0
        losses['loss_ctr'].backward()
        found.append({k: p.grad for k, p in model.named_parameters()})
    split, whole = found
    learning = [k for k, grad in whole.items() if grad is not None]
    assert any('backbone' in k for k in learning)
    assert any('projector' in k or 'head_pairs' in k for k in learning)
    for name in learning:
        assert_close(split[name], whole[name], atol=1e-6, rtol=1e-4)


class Largest(TorchDispatchMode):
    """Numbers of the largest result."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor):
            self.numbers = max(self.numbers, result.numel())
        return result


def test_no_map_of_embeddings_is_made(monkeypatch):
    monkeypatch.setattr('mmsemiseg.functional.shared_keys.HEIGHT', 4)
    blocks = import_module('mmsemiseg.models.heads.split_head')  # also a function
    monkeypatch.setattr(blocks, 'BLOCK', 4)
    channels, cells = 200, 2 * 6 * 8
    found = []
    for kind in (ConvBlocks, WholeBlocks):
        part, method = in_double(BLOCKS | dict(type=kind), channels, num_parts=1)
        with Largest() as largest:
            one_step(part, method, 0)
        found.append(largest.numbers)
    assert found[0] < channels * cells <= found[1]


# Settings


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(weight=-1), 'weight must be a number >= 0, but got -1'),
        (dict(num_parts=0), 'num_parts must be an integer >= 1, but got 0'),
        (dict(num_negatives=0), 'num_negatives must be an integer >= 1, but got 0'),
        (dict(max_anchors=0), 'max_anchors must be an integer >= 1, but got 0'),
        (dict(temperature=0), 'temperature must be > 0, but got 0'),
        (dict(anchor_share=0), r'anchor_share must be in \(0, 1\], but got 0'),
        (dict(threshold=95), r'threshold must be in \[0, 1\], but got 95'),
        (dict(negatives='queue'), "negatives must be in .* but got 'queue'"),
        (dict(enqueue='never'), "enqueue must be in .* but got 'never'"),
        (dict(bank=dict(size=0)), 'bank.size must be an integer >= 1, but got 0'),
        (
            dict(prototypes=dict(decay=math.inf)),
            r'prototypes.decay must be in \[0, 1\], but got inf',
        ),
        (dict(projector=dict(channels=0)), 'projector.channels must be'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        contrast(**settings)


def test_it_is_refused_where_no_teacher_is_shown():
    method = Method()
    method.feature_channels = 4
    with pytest.raises(ValueError, match='feature must be a pair of layers'):
        contrast(method)
    cfg = dict(type='PartContrast', feature=('pre_cls', -1))
    with pytest.raises(ValueError, match='needs a method .* ESL, but got MeanTeacher'):
        build(dict(type=MeanTeacher, student=student_cfg(), contrast=cfg))


def test_the_projector_has_an_ema_copy():
    model = build(dict(type='ESL', student=student_cfg()))
    (pair,) = model.contrast.head_pairs
    assert pair.teacher is not None
    assert model.contrast.bank.dim == 512
    frozen = {id(p) for p in pair.teacher.parameters()}
    assert not frozen & {id(p) for p in model.parameters()}
    model.loss(streams())
    assert batch(1).inputs.shape == (1, 3, 32, 32)
