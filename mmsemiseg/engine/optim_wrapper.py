"""Mixed precision in bfloat16, on any device."""

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmseg.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class Bf16OptimWrapper(OptimWrapper):
    """Forward passes under bfloat16 autocast; weights and optimizer stay fp32.

    It works on CPUs too, where MMEngine's ``AmpOptimWrapper`` refuses to start, and
    makes those with AMX or AVX512-BF16 instructions faster. bfloat16 has the range of
    fp32, so there is no loss scale and no skipped step. ``tools/train.py --amp``
    chooses it on a CPU.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, torch.bfloat16):
            yield
