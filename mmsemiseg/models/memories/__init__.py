from .class_queue_bank import ClassQueueBank
from .step_queue import StepQueue

__all__ = ['ClassQueueBank', 'StepQueue']
