from .class_balance import ClassBalance
from .class_queue_bank import ClassQueueBank
from .frequency_window import FrequencyWindow
from .step_queue import StepQueue

__all__ = ['ClassBalance', 'ClassQueueBank', 'FrequencyWindow', 'StepQueue']
