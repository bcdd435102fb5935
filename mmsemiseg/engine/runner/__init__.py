from .runner import SemiRunner
from .self_training import SelfTrainingRunner
from .stream_loop import SemiTrainLoop
from .val_loop import TeacherStudentValLoop

__all__ = ['SelfTrainingRunner', 'SemiRunner', 'SemiTrainLoop', 'TeacherStudentValLoop']
