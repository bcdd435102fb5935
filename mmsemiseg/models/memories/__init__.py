from .class_balance import ClassBalance
from .class_queue_bank import ClassQueueBank
from .frequency_window import FrequencyWindow
from .part_prototypes import PartPrototypes
from .step_queue import StepQueue

__all__ = [
    'ClassBalance',
    'ClassQueueBank',
    'FrequencyWindow',
    'PartPrototypes',
    'StepQueue',
]
