"""Checkpoints without a run."""

from collections import OrderedDict

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub


def good(step=1, **other):
    """A checkpoint that can be resumed."""
    content = dict(
        meta=dict(iter=step, epoch=0),
        state_dict=OrderedDict(w=torch.full((500,), float(step))),
        optimizer=dict(state={}, param_groups=[]),
        message_hub=dict(log_scalars={}, runtime_info={}, resumed_keys={}),
    )
    content.update(other)
    return content


def filled_hub(name):
    """Logs and infos as of a run."""
    hub = MessageHub.get_instance(f'test_checkpoint_{name}')
    for value in (0.1, 2.5, float('inf')):
        hub.update_scalar('train/loss', value, 4)
    hub.update_scalar('train/steps', 3)
    hub.log_scalars['short'] = HistoryBuffer([1.0, 2.0], [1, 2], max_length=2)
    hub._resumed_keys['short'] = True
    hub.update_scalar('memory', 5, resumed=False)
    hub.update_info('iter', 7)
    hub.update_info('best_score', np.float32(0.25))
    hub.update_info('keep_ckpt_ids', [5, 7])
    return hub


def assert_same_logs(hub, other):
    assert list(hub.log_scalars) == ['train/loss', 'train/steps', 'short']
    for key in hub.log_scalars:
        for ours, theirs in zip(
            hub.get_scalar(key).data, other.get_scalar(key).data, strict=True
        ):
            assert ours.dtype == theirs.dtype
            assert np.array_equal(ours, theirs)
        assert hub.get_scalar(key).max_length == other.get_scalar(key).max_length
    assert hub.get_info('iter') == 7
    assert hub.get_info('best_score') == 0.25
    assert hub.get_info('keep_ckpt_ids') == [5, 7]
