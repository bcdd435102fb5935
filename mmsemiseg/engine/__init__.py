from . import checkpoints, hooks, runner
from .optim_wrapper import Bf16OptimWrapper
from .student_constructor import StudentConstructor

__all__ = ['Bf16OptimWrapper', 'StudentConstructor', 'checkpoints', 'hooks', 'runner']
