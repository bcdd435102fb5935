from .advice import AdviceHook
from .audit import PseudoLabelAuditHook
from .batch_norm_reestimation import BatchNormReestimationHook
from .batch_norm_sync import BatchNormSyncHook
from .loss_monitor import LossMonitorHook
from .mean_teacher import MeanTeacherHook
from .memory import MemoryHook
from .monitor import PseudoLabelMonitorHook
from .painted_images import PaintedImagesHook
from .prediction_files import PredictionFilesHook
from .prototype_init import PrototypeInitHook
from .reload_best import ReloadBestHook
from .run_monitor import RunMonitorHook
from .safe_checkpoint import SafeCheckpointHook
from .step_hook import StepHook
from .step_outputs import step_outputs

__all__ = [
    'AdviceHook',
    'BatchNormReestimationHook',
    'BatchNormSyncHook',
    'LossMonitorHook',
    'MeanTeacherHook',
    'MemoryHook',
    'PaintedImagesHook',
    'PredictionFilesHook',
    'PrototypeInitHook',
    'PseudoLabelAuditHook',
    'PseudoLabelMonitorHook',
    'ReloadBestHook',
    'RunMonitorHook',
    'SafeCheckpointHook',
    'StepHook',
    'step_outputs',
]
