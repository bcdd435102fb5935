from mmengine.registry import MODEL_WRAPPERS
from torch import nn

from mmsemiseg.utils.model import unwrap


def test_a_wrapper_is_taken_off_and_a_model_is_left():
    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    MODEL_WRAPPERS.register_module(name='UnwrapTestWrapper', module=Wrapper)
    try:
        model = nn.Linear(1, 1)
        assert unwrap(model) is model
        assert unwrap(Wrapper(model)) is model
    finally:
        MODEL_WRAPPERS.module_dict.pop('UnwrapTestWrapper')
    # a child that happens to be called `module` makes no wrapper
    plain = Wrapper(model)
    assert unwrap(plain) is plain
