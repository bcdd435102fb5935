from . import hooks, runner
from .optim_wrapper import Bf16OptimWrapper

__all__ = ['Bf16OptimWrapper', 'hooks', 'runner']
