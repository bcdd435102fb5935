"""Checkpoints without a run."""

from collections import OrderedDict

import torch


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
