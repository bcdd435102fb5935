from .audit import PseudoLabelAudit
from .iou import PerClassIoUMetric

__all__ = ['PerClassIoUMetric', 'PseudoLabelAudit']
