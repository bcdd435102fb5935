from .metrics import PerClassIoUMetric, PseudoLabelAudit
from .negatives import NegativePairs, cell_labels, label_table, negative_pairs
from .protocol import describe_protocol

__all__ = [
    'NegativePairs',
    'PerClassIoUMetric',
    'PseudoLabelAudit',
    'cell_labels',
    'describe_protocol',
    'label_table',
    'negative_pairs',
]
