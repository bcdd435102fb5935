import copy
import io
import math
import random
from collections import deque

import pytest
import torch
from no_sync import NoHostSync
from torch._subclasses.fake_tensor import FakeTensorMode

from mmsemiseg.functional import group_logsumexp
from mmsemiseg.models import ClassQueueBank


class SlowBank:
    """The same with Python's deques, row by row."""

    def __init__(self, groups, size):
        self.queues = [deque(maxlen=size) for _ in range(groups)]
        self.size = size

    def enqueue(self, features, group, score, per_group):
        for g, queue in enumerate(self.queues):
            members = [i for i in range(len(group)) if group[i] == g]
            for i in sorted(self.chosen(members, score, per_group)):
                queue.append(features[i])

    def chosen(self, members, score, per_group):
        limit = min(per_group or self.size, self.size)
        if score is None:
            return members if per_group is None else members[:limit]

        def key(i):
            return (math.inf if math.isnan(score[i]) else -score[i]), i

        return sorted(members, key=key)[:limit]


def by_age(bank):
    """The rows of each queue, the oldest first."""
    queues = []
    for rows, count, pointer in zip(
        bank.features, bank.count.tolist(), bank.pointer.tolist(), strict=True
    ):
        oldest = pointer if count == bank.size else 0
        queues.append(rows.roll(-oldest, 0)[:count].tolist())
    return queues


def tensors(features, group, score):
    return (
        torch.tensor(features).view(-1, 2),
        torch.tensor(group, dtype=torch.int64),
        None if score is None else torch.tensor(score, dtype=torch.float32),
    )


def random_step(rng, groups):
    n = rng.choice([0, 1, 2, 5, 9, 30])
    # one group is rare, and some rows are in none
    numbers = [*range(groups - 1)] * 4 + [groups - 1, groups, -1, -5, 255]
    group = [rng.choice(numbers) for _ in range(n)]
    features = [[float(rng.randrange(1000)), float(i)] for i in range(n)]
    score = None
    if rng.random() < 0.5:
        score = [rng.choice([0.0, 0.25, 0.5, 1.0, -1.0, math.nan]) for _ in range(n)]
    return features, group, score


@pytest.mark.parametrize(('groups', 'size'), [(1, 1), (1, 4), (3, 1), (4, 5)])
def test_random_steps_equal_deques(groups, size):
    rng = random.Random(groups * 10 + size)
    bank, slow = ClassQueueBank(groups, size, 2), SlowBank(groups, size)
    for _ in range(1500):
        per_group = rng.choice([None, 1, 2, 3, 7])
        features, group, score = random_step(rng, groups)
        slow.enqueue(features, group, score, per_group)
        bank.enqueue(*tensors(features, group, score), per_group)
        assert by_age(bank) == [list(queue) for queue in slow.queues]
        assert bank.count.tolist() == [len(queue) for queue in slow.queues]
        assert bank.pointer.max() < size
        keys, of = bank.keys()
        assert keys.shape == (groups * size, 2)
        for g, queue in enumerate(slow.queues):
            assert sorted(keys[of == g].tolist()) == sorted(queue)
        assert (of == -1).sum() == groups * size - sum(map(len, slow.queues))


def test_exact_places():
    bank = ClassQueueBank(groups=2, size=3, dim=1)

    def enter(*pairs):
        rows = torch.tensor([[float(value)] for value, _ in pairs])
        bank.enqueue(rows, torch.tensor([group for _, group in pairs]))
        return bank.features[..., 0].tolist(), bank.count.tolist()

    assert enter((1, 0), (2, 1), (3, 0)) == ([[1, 3, 0], [2, 0, 0]], [2, 1])
    assert bank.keys()[1].tolist() == [0, 0, -1, 1, -1, -1]
    assert enter((4, 0), (5, 0)) == ([[5, 3, 4], [2, 0, 0]], [3, 1])
    # more than there are places: the last three
    assert enter((6, 1), (7, 1), (8, 1), (9, 1)) == ([[5, 3, 4], [9, 7, 8]], [3, 3])
    assert enter((0, 255), (0, -1), (0, 2)) == ([[5, 3, 4], [9, 7, 8]], [3, 3])


@pytest.mark.parametrize(
    ('scored', 'per_group', 'expected'),
    [
        (True, 2, [1, 3]),
        (False, 2, [0, 1]),
        (True, 9, [1, 2, 3]),
        (True, None, [1, 2, 3]),
        (False, 9, [0, 1, 2]),
        (False, None, [1, 2, 3]),
    ],
)
def test_selection_by_hand(scored, per_group, expected):
    bank = ClassQueueBank(groups=1, size=3, dim=1)
    score = torch.tensor([0.2, 0.9, 0.5, 0.7]) if scored else None
    bank.enqueue(torch.arange(4.0)[:, None], torch.zeros(4).long(), score, per_group)
    assert bank.features[0, : len(expected), 0].tolist() == expected
    assert bank.count.tolist() == [len(expected)]


def test_processes_with_other_random_states_stay_equal():
    banks = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        banks.append(filled(steps=20))
        assert torch.get_rng_state().equal(before)
    assert_same(*banks)


def enter_steps(bank, steps, seed=0):
    g = torch.Generator().manual_seed(seed)
    for i in range(steps):
        group = torch.randint(-1, bank.groups + 1, (12,), generator=g)
        rows = torch.randn(12, bank.dim, generator=g)
        score = torch.randint(4, (12,), generator=g)
        bank.enqueue(rows, group, score if i % 2 else None, 1 + i % 3)


def filled(steps):
    bank = ClassQueueBank(groups=3, size=4, dim=2)
    enter_steps(bank, steps)
    return bank


def assert_same(one, other):
    one, other = one.state_dict(), other.state_dict()
    assert list(one) == list(other) == ['features', 'count', 'pointer']
    assert all(one[name].equal(other[name]) for name in one)


@pytest.mark.parametrize('steps', [0, 1, 6, 30])
def test_a_resumed_bank_continues_bit_by_bit(steps):
    bank, file = filled(steps), io.BytesIO()
    torch.save(bank.state_dict(), file)
    file.seek(0)
    resumed = ClassQueueBank(groups=3, size=4, dim=2)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert_same(bank, resumed)
    for one in (bank, resumed):
        enter_steps(one, 9, seed=1)
    assert_same(bank, resumed)
    fresh = filled(0)
    enter_steps(fresh, 9, seed=1)
    if steps:
        assert not fresh.features.equal(resumed.features)


def test_ready():
    bank = ClassQueueBank(groups=2, size=2, dim=1)

    def states(*group):
        bank.enqueue(torch.ones(len(group), 1), torch.tensor(group).long())
        full = bank.ready('each')
        return full.tolist(), bank.ready('any').item(), bank.ready('all').item()

    assert states() == ([False, False], False, False)
    assert states(1, 0) == ([False, False], False, False)
    assert states(1) == ([False, True], True, False)
    assert states(1, 1, 1) == ([False, True], True, False)
    assert states(0) == ([True, True], True, True)
    assert bank.ready().dtype == torch.bool
    assert bank.ready().shape == ()
    with pytest.raises(ValueError, match=r"one of \['all', .*\], but got 'class'"):
        bank.ready('class')


def test_rows_of_no_group_change_nothing():
    bank = filled(5)
    before = copy.deepcopy(bank)
    bank.enqueue(torch.full((3, 2), 9.0), torch.tensor([-1, 3, 255]))
    bank.enqueue(torch.zeros(0, 2), torch.zeros(0).long())
    bank.enqueue(torch.zeros(0, 2), torch.zeros(0).long(), torch.zeros(0), 1)
    assert_same(bank, before)


def test_rows_left_out_may_be_anything():
    bank = ClassQueueBank(groups=2, size=2, dim=2)
    rows = torch.tensor([[math.nan, math.inf], [1.0, 2.0]])
    bank.enqueue(rows, torch.tensor([255, 1]))
    assert bank.features.flatten(0, 1).tolist() == [[0, 0], [0, 0], [1, 2], [0, 0]]


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int32])
def test_labels_of_any_integer_type(dtype):
    bank = ClassQueueBank(groups=2, size=2, dim=1)
    bank.enqueue(torch.ones(2, 1), torch.tensor([1, 255], dtype=torch.uint8).to(dtype))
    assert bank.count.tolist() == [0, 1]


def test_keys_serve_the_contrast():
    bank = filled(2)
    g = torch.Generator().manual_seed(2)
    anchors = torch.randn(5, 2, generator=g, requires_grad=True)
    group = torch.tensor([0, 1, 2, 0, 255])
    keys, of = bank.keys()
    assert (of == -1).any()
    found = group_logsumexp(anchors, keys, group, of, 3)
    for i, own in enumerate(group.tolist()):
        others = [row for k, q in enumerate(by_age(bank)) if k != own for row in q]
        logits = torch.tensor(others) @ anchors[i].detach()
        torch.testing.assert_close(found[i].detach(), logits.logsumexp(0))
    found.sum().backward()
    enter_steps(bank, 1)  # the values of this step are no longer needed


@pytest.mark.parametrize('per_group', [None, 1])
@pytest.mark.parametrize('scored', [True, False])
@pytest.mark.parametrize('n', [0, 12])
def test_a_preview_is_the_bank_that_will_be(n, scored, per_group):
    bank = filled(5)
    before = copy.deepcopy(bank)
    g = torch.Generator().manual_seed(1)
    rows, group = torch.randn(n, 2, generator=g), torch.randint(3, (n,), generator=g)
    score = torch.rand(n, generator=g) if scored else None
    torch.manual_seed(0)
    state = torch.get_rng_state()
    preview = bank.preview(rows, group, score, per_group)
    assert torch.get_rng_state().equal(state)
    assert_same(bank, before)
    assert preview.features.data_ptr() != bank.features.data_ptr()
    bank.enqueue(rows, group, score, per_group)
    assert_same(bank, preview)
    assert preview.keys()[1].equal(bank.keys()[1])
    assert (bank.pointer.equal(before.pointer)) == (n == 0)


def test_no_gradient_is_kept():
    bank = ClassQueueBank(groups=2, size=2, dim=2)
    features = torch.randn(2, 2, requires_grad=True)
    score = features.sum(1)
    bank.enqueue(features * 2, torch.tensor([0, 1]), score, 1)
    keys, _ = bank.keys()
    assert not bank.features.requires_grad
    assert keys.grad_fn is None
    assert keys[::2].equal(features.detach() * 2)
    with torch.no_grad():
        features.zero_()
    assert keys[::2].ne(0).all()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_rows_are_kept_in_float32(dtype):
    bank = ClassQueueBank(groups=1, size=2, dim=2)
    features = torch.tensor([[0.1, 0.7]], dtype=dtype)
    with torch.autocast('cpu', torch.bfloat16):
        bank.enqueue(features, torch.zeros(1).long(), features[:, 0], 1)
    assert bank.features.dtype == torch.float32
    assert bank.features[0, :1].equal(features.float())


@pytest.mark.parametrize('scored', [True, False])
def test_no_host_sync_and_no_loop_over_groups(scored):
    counts = []
    for groups, n in [(2, 5), (40, 5), (40, 300)]:
        bank = ClassQueueBank(groups, 3, 2)
        g = torch.Generator().manual_seed(0)
        rows = torch.randn(n, 2, generator=g)
        group = torch.randint(-1, groups, (n,), generator=g)
        score = rows[:, 0] if scored else None
        with NoHostSync() as seen:
            bank.enqueue(rows, group, score, 2)
            bank.preview(rows, group - 1, score, 2).keys()
            bank.keys()
            for mode in ('all', 'any', 'each'):
                bank.ready(mode)
        counts.append(len(seen.ops))
    assert len(set(counts)) == 1


@pytest.mark.parametrize('scored', [True, False])
def test_no_shape_depends_on_the_data(scored):
    with FakeTensorMode():
        bank = ClassQueueBank(4, 3, 2)
        rows, group = torch.empty(9, 2), torch.empty(9).long()
        bank.enqueue(rows, group, torch.empty(9) if scored else None)
        keys, of = bank.keys()
        assert keys.shape == (12, 2)
        assert of.shape == (12,)
        assert bank.ready().shape == ()


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs CUDA')
def test_cuda_is_as_the_cpu_and_does_not_wait():
    g = torch.Generator().manual_seed(0)
    bank = ClassQueueBank(groups=3, size=4, dim=2)
    other = ClassQueueBank(groups=3, size=4, dim=2).cuda()
    for i in range(40):
        n = (0, 1, 7, 40)[i % 3]
        rows = torch.randn(n, 2, generator=g)
        group = torch.randint(-1, 4, (n,), generator=g)
        score = torch.randint(4, (n,), generator=g)
        score = score if i % 2 else None
        bank.enqueue(rows, group, score, 1 + i % 5)
        rows, group = rows.cuda(), group.cuda()
        score = None if score is None else score.cuda()
        torch.cuda.set_sync_debug_mode('error')
        try:
            other.preview(rows, group, score, 1 + i % 5)
            other.enqueue(rows, group, score, 1 + i % 5)
            other.keys()
            other.ready()
        finally:
            torch.cuda.set_sync_debug_mode('default')
        assert_same(bank, copy.deepcopy(other).cpu())


@pytest.mark.parametrize(
    ('settings', 'rule'),
    [
        (dict(groups=0), 'groups must be an integer >= 1, but got 0'),
        (dict(size=1.5), 'size must be an integer >= 1, but got 1.5'),
        (dict(dim=0), 'dim must be an integer >= 1, but got 0'),
    ],
)
def test_bad_settings_are_named(settings, rule):
    with pytest.raises(ValueError, match=rule):
        ClassQueueBank(**{**dict(groups=2, size=2, dim=2), **settings})


@pytest.mark.parametrize(
    ('given', 'rule'),
    [
        (dict(features=torch.ones(3, 4)), r'\(n, 2\) and \(n,\), but got \(3, 4\)'),
        (dict(features=torch.ones(2, 2)), r'\(n,\), but got \(2, 2\) and \(3,\)'),
        (dict(group=torch.ones(3)), r'integers, but got \(3,\)'),
        (dict(group=torch.ones(3, 1).long()), r'integers, but got \(3, 1\)'),
        (dict(score=torch.ones(2)), r'as group, but got \(2,\)'),
        (dict(per_group=0), 'per_group must be an integer >= 1 or None, but got 0'),
        (dict(per_group=0.5), 'per_group must be .* but got 0.5'),
    ],
)
def test_bad_rows_are_refused_and_change_nothing(given, rule):
    bank = filled(3)
    before = copy.deepcopy(bank)
    rows = dict(features=torch.ones(3, 2), group=torch.zeros(3).long())
    with pytest.raises(ValueError, match=rule):
        bank.enqueue(**{**rows, **given})
    assert_same(bank, before)


def test_fill_by_class():
    """Class 0 has the queues 0 and 1, class 1 the queues 2 and 3."""
    bank = ClassQueueBank(groups=4, size=2, dim=1)
    assert bank.fill(2).tolist() == [0, 0]
    bank.enqueue(torch.ones(4, 1), torch.tensor([0, 0, 0, 1]))
    with NoHostSync():
        parts, queues = bank.fill(2), bank.fill(4)
    assert parts.tolist() == [0.75, 0]
    assert queues.tolist() == [1, 0.5, 0, 0]
