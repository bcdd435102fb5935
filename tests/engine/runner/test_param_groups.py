"""Parameter groups with equal settings become one, and a step stays the same."""

import torch
from torch.optim import SGD, AdamW

from mmsemiseg.engine.runner.param_groups import describe_groups, merge_equal_groups


def groups(values, **other):
    return [dict(params=[value], **other) for value in values]


def test_groups_of_equal_settings_are_one():
    a, b, c, d = (torch.nn.Parameter(torch.ones(2)) for _ in range(4))
    parts = [*groups([a], lr=1.0), *groups([b], lr=2.0), *groups([c, d], lr=1.0)]
    optimizer = SGD(parts, lr=9.0, momentum=0.9)
    merge_equal_groups(optimizer)
    assert [group['lr'] for group in optimizer.param_groups] == [1.0, 2.0]
    first, second = (group['params'] for group in optimizer.param_groups)
    assert [id(p) for p in first] == [id(a), id(c), id(d)]
    assert second[0] is b


def test_names_keep_groups_apart():
    a, b = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    parts = [dict(params=[a], group_name='x'), dict(params=[b], group_name='y')]
    optimizer = SGD(parts, lr=1.0)
    merge_equal_groups(optimizer)
    assert len(optimizer.param_groups) == 2


def test_steps_stay_the_same():
    def trained(merge):
        torch.manual_seed(0)
        values = [torch.nn.Parameter(torch.randn(3, 2)) for _ in range(6)]
        optimizer = AdamW(groups(values[:4], lr=0.1) + groups(values[4:], lr=0.02))
        if merge:
            merge_equal_groups(optimizer)
            assert len(optimizer.param_groups) == 2
        for _ in range(3):
            optimizer.zero_grad()
            sum((value**3).sum() for value in values).backward()
            optimizer.step()
        return values

    for plain, merged in zip(trained(False), trained(True), strict=True):
        torch.testing.assert_close(merged, plain, rtol=0, atol=0)


def test_many_groups_in_one_line():
    parts = [
        dict(params=[torch.empty(1)], lr=0.1 / (k + 1), weight_decay=k % 2)
        for k in range(10)
    ]
    assert describe_groups(SGD(parts, lr=1.0)) == (
        'learning rates: 0.01 to 0.1 in 10 groups; weight decay 0 to 1'
    )


def test_one_that_wraps_another_keeps_its_groups():
    values = [torch.nn.Parameter(torch.ones(2)) for _ in range(3)]
    outer = SGD(groups(values, lr=0.1), lr=0.1)
    outer.optim = SGD(groups(values, lr=0.1), lr=0.1)  # as ZeroRedundancyOptimizer
    merge_equal_groups(outer)
    assert len(outer.param_groups) == len(outer.optim.param_groups) == 3
