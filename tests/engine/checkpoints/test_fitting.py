import pytest
import torch
from checkpoint_files import good
from torch import nn

from mmsemiseg.engine.checkpoints import (
    CheckpointError,
    check_resumable,
    read_checkpoint,
    require_fit,
)


@pytest.mark.parametrize(
    ('content', 'missing'),
    [
        ({'conv.weight': torch.ones(1)}, 'meta, state_dict, optimizer, message_hub'),
        ({**good(), 'optimizer': None}, 'no optimizer'),
        ({k: v for k, v in good().items() if k != 'message_hub'}, 'no message_hub'),
        (good(meta=dict(epoch=1)), 'no meta.iter'),
        (good(meta=[]), 'no meta'),
    ],
)
def test_not_resumable(content, missing, tmp_path):
    saved = tmp_path / 'iter_1.pth'
    torch.save(content, saved)
    with pytest.raises(CheckpointError, match=missing) as caught:
        check_resumable(read_checkpoint(saved), saved)
    assert str(saved) in str(caught.value)
    assert 'load_from' in str(caught.value)


def test_fit():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    state = model.state_dict()
    for content in (dict(state_dict=state), state):
        require_fit(model, content, 'a.pth', strict=True)
    without = {f'module.{k}': v for k, v in state.items() if 'num_batches' not in k}
    require_fit(model, without, 'a.pth', strict=True)
    assert all(key.startswith('module.') for key in without)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (dict(bias=None), r'1 missing \(bias\)'),
        (dict(extra=torch.ones(1)), r'1 unknown \(extra\)'),
        (dict(weight=torch.ones(9, 9)), r'1 of another shape \(weight\)'),
    ],
)
def test_weights_that_fit_in_part(change, reason):
    model = nn.Linear(2, 3)
    state = {**model.state_dict(), **change}
    state = {key: value for key, value in state.items() if value is not None}
    require_fit(model, dict(state_dict=state), 'a.pth')
    with pytest.raises(CheckpointError, match=f'a.pth is not of this Linear.*{reason}'):
        require_fit(model, dict(state_dict=state), 'a.pth', strict=True)


@pytest.mark.parametrize(
    'content',
    [
        dict(state_dict={}),
        dict(state_dict={'net.weight': torch.ones(3, 2)}),
        dict(state_dict={'weight': torch.ones(4, 4), 'bias': 1.0}),
        dict(meta=dict(iter=1)),
        dict(state_dict=[1]),
    ],
)
def test_weights_that_do_not_fit(content):
    with pytest.raises(CheckpointError, match='a.pth'):
        require_fit(nn.Linear(2, 3), content, 'a.pth')


def test_names_that_the_model_translates():
    model = nn.Linear(2, 3)
    model._register_load_state_dict_pre_hook(
        lambda state, prefix, *args: state.update(weight=state.pop('old'))
    )
    state = dict(old=torch.ones(3, 2), bias=torch.ones(3))
    require_fit(model, state, 'a.pth', strict=True)
    assert set(state) == {'old', 'bias'}
