"""Code that would wait for a GPU, found on the CPU."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# what brings a value, or a shape that depends on values, to the host, and host data
# that becomes a tensor
WAITS = {
    '_local_scalar_dense',
    'bincount',
    'equal',
    'is_nonzero',
    'lift_fresh',
    'masked_select',
    'nonzero',
    'unique_consecutive',
    'unique_dim',
    '_unique2',
}


class NoHostSync(TorchDispatchMode):
    """Within it, an operation that waits for the device is an AssertionError.

    Not seen on the CPU: ``tolist()`` and ``numpy()``, which PyTorch's FakeTensorMode
    refuses. ``ops`` are the names of the operations seen.
    """

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.ops.append(name)
        if name in WAITS or name.startswith('index') and any(map(is_mask, args)):
            raise AssertionError(f'{name} waits for the device')
        return func(*args, **(kwargs or {}))


def is_mask(arg):
    return isinstance(arg, (list, tuple)) and any(
        isinstance(one, torch.Tensor) and one.dtype in (torch.bool, torch.uint8)
        for one in arg
    )
