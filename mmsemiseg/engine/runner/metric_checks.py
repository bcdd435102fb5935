"""Settings that name a metric, compared with what validation will give."""

from difflib import get_close_matches

from mmengine.hooks import EarlyStoppingHook

from ...evaluation.metric_names import metric_names
from ...utils.settings import did_you_mean


def check_monitors(runner) -> None:
    """Raise ValueError where early stopping or a schedule waits for no metric."""
    for hook in runner.hooks:
        if isinstance(hook, EarlyStoppingHook):
            check_metric(runner.val_loop, 'monitor of EarlyStoppingHook', hook.monitor)
    schedulers = runner.param_schedulers or ()
    if isinstance(schedulers, dict):
        schedulers = [one for group in schedulers.values() for one in group]
    for scheduler in schedulers:
        if getattr(scheduler, 'need_val_args', False):
            setting = f'monitor of {type(scheduler).__name__}'
            check_metric(runner.val_loop, setting, scheduler.monitor)


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
