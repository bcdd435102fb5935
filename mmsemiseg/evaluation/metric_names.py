"""The names under which metrics will come, before anything is evaluated."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from mmseg.evaluation import IoUMetric

from ..utils.settings import did_you_mean

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
    """Names that ``IoUMetric`` returns; with ``format_only`` none."""
    if metric.format_only:
        return []
    found = [name for kind in metric.metrics for name in OF_IOU.get(kind, ())]
    return list(dict.fromkeys(['aAcc', *found]))


def check_metric(val_loop, setting: str, name: str) -> None:
    """Raise ValueError if no validation will give the metric ``name``.

    Where the metrics of ``val_evaluator`` cannot be known before they are computed,
    the network that ``name`` begins with is checked alone.
    """
    if val_loop is None:
        raise ValueError(
            f'{setting} must be a metric of the validation, but got {name!r}, and '
            'there is no validation: set val_dataloader, val_evaluator and val_cfg'
        )
    networks = getattr(val_loop, 'networks', None)
    evaluator = getattr(val_loop, 'evaluator', None)
    known = metric_names(evaluator.metrics) if evaluator is not None else None
    if networks:
        network, named, metric = name.partition('/')
        if not named or network not in networks:
            near = did_you_mean(network, networks) if named else ''
            usual = known or ['mIoU']
            metric = (get_close_matches(name, usual, n=1) or usual[-1:])[0]
            raise ValueError(
                f'{setting} must be a metric of a validated network, such as '
                f'{networks[0]}/{metric}, of {networks}, '
                f'but got {name!r}{near}'
            )
    else:
        metric = name
    if known is not None and metric not in known:
        raise ValueError(
            f'{setting}: validation gives no {metric!r}, only {known}, but got '
            f'{name!r}{did_you_mean(metric, known)}'
        )
