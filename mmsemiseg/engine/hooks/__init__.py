from .audit import PseudoLabelAuditHook
from .loss_monitor import LossMonitorHook
from .mean_teacher import MeanTeacherHook
from .monitor import PseudoLabelMonitorHook
from .run_monitor import RunMonitorHook
from .safe_checkpoint import SafeCheckpointHook
from .step_hook import StepHook

__all__ = [
    'LossMonitorHook',
    'MeanTeacherHook',
    'PseudoLabelAuditHook',
    'PseudoLabelMonitorHook',
    'RunMonitorHook',
    'SafeCheckpointHook',
    'StepHook',
]
