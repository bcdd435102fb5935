from .quiet_runner import QuietRunner
from .runner import SemiRunner
from .self_training import SelfTrainingRunner
from .stream_loop import SemiTrainLoop
from .val_loop import TeacherStudentValLoop

__all__ = [
    'QuietRunner',
    'SelfTrainingRunner',
    'SemiRunner',
    'SemiTrainLoop',
    'TeacherStudentValLoop',
]
