from .metrics import PerClassIoUMetric, PseudoLabelAudit
from .protocol import describe_protocol

__all__ = ['PerClassIoUMetric', 'PseudoLabelAudit', 'describe_protocol']
