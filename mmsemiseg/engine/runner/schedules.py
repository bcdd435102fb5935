"""Schedules that follow the length of a run, and messages on those that do not.

MMEngine gives a schedule whose config has no ``end`` that of the run.
"""

from collections.abc import Iterator

from mmengine.optim import _ParamScheduler
from mmengine.optim.scheduler.param_scheduler import INF

from ...utils.method_settings import settings_of
from ...utils.model import unwrap

WORDS = dict(lr='the learning rate', momentum='the momentum')


def warn_of_lengths(runner) -> None:
    """Warn of what does not fit the number of iterations, before the first of them."""
    total = runner.max_iters
    schedulers = named_schedulers(runner.param_schedulers)
    texts = [*describe_schedules(schedulers, total), *describe_starts(runner, total)]
    for text in texts:
        runner.logger.warning(text)


def with_ends(schedulers, max_iters: int):
    """Configs of schedules; those that begin after the run have an ``end`` even later.

    Without it they would get that of the run, and MMEngine would refuse them.
    """
    if isinstance(schedulers, dict) and 'type' not in schedulers:
        return {name: with_ends(some, max_iters) for name, some in schedulers.items()}
    if isinstance(schedulers, (list, tuple)):
        return [with_ends(one, max_iters) for one in schedulers]
    if isinstance(schedulers, dict) and not schedulers.get('by_epoch', True):
        begin = schedulers.get('begin', 0)
        if begin >= max_iters:
            return dict(dict(end=begin + 1), **schedulers)
    return schedulers


def named_schedulers(schedulers) -> dict[str, _ParamScheduler]:
    """Place in the config -> built scheduler, in the order of their steps."""
    if isinstance(schedulers, dict):  # of several optimizers
        parts = {f'param_scheduler.{name}': some for name, some in schedulers.items()}
    else:
        parts = {'param_scheduler': schedulers or ()}
    return {
        f'{place}.{index}': scheduler
        for place, some in parts.items()
        for index, scheduler in enumerate(some)
        if isinstance(scheduler, _ParamScheduler)
    }


def describe_schedules(
    schedulers: dict[str, _ParamScheduler], max_iters: int
) -> Iterator[str]:
    """Messages on schedules that end before or after the run.

    A warm-up may end early. Of several schedules of one parameter, one after the other,
    the last one counts.
    """
    last: dict[tuple, tuple] = {}
    rising = set()
    for place, scheduler in schedulers.items():
        if scheduler.by_epoch:
            yield (
                f'{place} ({kind_of(scheduler)}) counts epochs, of which a run of '
                'iterations has a single one: it does nothing. Set by_epoch=False'
            )
            continue
        end, setting = _horizon(scheduler)
        key = id(scheduler.optimizer), scheduler.param_name
        if is_warm_up(scheduler):
            if max_iters < end < INF:
                rising.add(key)
                yield (
                    f'the warm-up {kind_of(scheduler)} ends at iteration {end}, but '
                    f'the run at {max_iters}: {_name(scheduler)} never gets to its '
                    f'full value. Set {place}.{setting} to a part of '
                    'train_cfg.max_iters'
                )
            continue
        if key not in last or end >= last[key][0]:
            last[key] = end, f'{place}.{setting}', scheduler
    for key, (end, setting, scheduler) in last.items():
        if end < max_iters:
            yield _early(end, setting, scheduler, max_iters)
        elif scheduler.begin >= max_iters and key in rising:
            pass  # said already
        elif max_iters < end < INF:
            yield (
                f'{_name(scheduler)} has not come down when the run ends: '
                f'{kind_of(scheduler)} ends at iteration {end}, but the run at '
                f'{max_iters} (train_cfg.max_iters). {_remedy(setting, max_iters)}'
            )


def is_warm_up(scheduler: _ParamScheduler) -> bool:
    """Whether the value rises, or is back at its full one at the end."""
    if kind_of(scheduler).startswith('Linear'):
        return scheduler.end_factor >= scheduler.start_factor
    return kind_of(scheduler).startswith(('Constant', 'ReduceOnPlateau'))


def describe_starts(runner, max_iters: int) -> Iterator[str]:
    """Messages on settings of a method that begin or end after the run.

    The settings are found by their names on the method and its components: ``start``,
    ``<what>_start`` and ramp-ups, ``dict(kind=..., length=...)``. Where
    ``<what>_weight`` is 0 or ``<what>`` is None there is nothing to begin.
    """
    settings = settings_of(unwrap(runner.model))
    late, rising = {}, {}
    for path, value in settings.items():
        name = path.rpartition('.')[2]
        if name == 'start' or name.endswith('_start'):
            what = path.removesuffix('_start')
            used = settings.get(f'{what}_weight', 1)
            if used and settings.get(what, 0) is not None and value >= max_iters:
                late[f'model.{path}'] = value
        elif isinstance(value, dict) and {'length'} <= set(value) <= {'kind', 'length'}:
            if value.get('kind', 'exp') and value['length'] > max_iters:
                rising[f'model.{path}.length'] = value['length']
    if late:
        yield (
            f'{_listed(late)} will not be reached in the {max_iters} iterations of '
            'this run: what is to begin there never does. Take a smaller number, or '
            'more iterations (train_cfg.max_iters)'
        )
    if rising:
        yield (
            f'{_listed(rising)} is beyond the {max_iters} iterations of this run: the '
            'weight never gets to its full value. Take a smaller number, or more '
            'iterations (train_cfg.max_iters)'
        )


def kind_of(scheduler: _ParamScheduler) -> str:
    """The name of its type."""
    return type(scheduler).__name__


def _horizon(scheduler: _ParamScheduler) -> tuple[int, str]:
    """The iteration at which a schedule ends, and the setting that says so."""
    for name in ('T_max', 'total_steps'):
        length = getattr(scheduler, name, None)
        if length is not None and scheduler.begin + length != scheduler.end:
            return scheduler.begin + length, name
    milestones = getattr(scheduler, 'milestones', None)
    if milestones and scheduler.begin + max(milestones) > scheduler.end:
        return scheduler.begin + max(milestones), 'milestones'
    return scheduler.end, 'end'


def _early(end: int, setting: str, scheduler: _ParamScheduler, max_iters: int) -> str:
    value = ''
    if getattr(scheduler, 'eta_min', None) is not None:
        value = f' ({scheduler.eta_min:g})'
    stays = f'stays at its last value{value}'
    if setting.endswith('T_max'):
        stays = 'rises again'
    return (
        f'{_name(scheduler)} {stays} for the last {max_iters - end} iterations: '
        f'{kind_of(scheduler)} ends at iteration {end}, but the run at {max_iters} '
        f'(train_cfg.max_iters). {_remedy(setting, max_iters)}'
    )


def _remedy(setting: str, max_iters: int) -> str:
    if setting.endswith('.end'):
        return f'Leave out its end, or set {setting}={max_iters}'
    return f'Set {setting} to fit'


def _name(scheduler: _ParamScheduler) -> str:
    return WORDS.get(scheduler.param_name, scheduler.param_name)


def _listed(settings: dict) -> str:
    return ', '.join(f'{name}={value}' for name, value in settings.items())
