"""The one place that knows about model wrappers."""

from mmengine.model import is_model_wrapper
from torch import nn


def unwrap(model: nn.Module) -> nn.Module:
    """The model itself, also where DDP or another wrapper holds it."""
    return model.module if is_model_wrapper(model) else model
