from .class_queue_bank import ClassQueueBank
from .frequency_window import FrequencyWindow
from .step_queue import StepQueue

__all__ = ['ClassQueueBank', 'FrequencyWindow', 'StepQueue']
