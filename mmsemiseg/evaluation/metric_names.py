"""The names under which metrics will come, before anything is evaluated."""

from collections.abc import Iterable
from typing import Any

from mmseg.evaluation import IoUMetric

OF_IOU = {
    'mIoU': ('mIoU', 'mAcc'),
    'mDice': ('mDice', 'mAcc'),
    'mFscore': ('mFscore', 'mPrecision', 'mRecall'),
}


def metric_names(metrics: Iterable[Any]) -> list[str] | None:
    """Names of what ``metrics`` return, prefixes included; None: one cannot tell.

    MMSegmentation's ``IoUMetric`` is known; another tells by ``metric_names()``.
    """
    names = []
    for metric in metrics:
        if hasattr(metric, 'metric_names'):
            found = metric.metric_names()
        elif type(metric) is IoUMetric:
            found = iou_names(metric)
        else:
            return None
        prefix = getattr(metric, 'prefix', None)
        names += [f'{prefix}/{name}' if prefix else name for name in found]
    return names


def iou_names(metric: IoUMetric) -> list[str]:
    """What ``IoUMetric`` returns; with ``format_only`` nothing."""
    if metric.format_only:
        return []
    found = [name for kind in metric.metrics for name in OF_IOU.get(kind, ())]
    return list(dict.fromkeys(['aAcc', *found]))
