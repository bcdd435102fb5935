"""Schedules of a resumed run, which may be longer than the one that was saved."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

from .schedules import kind_of, named_schedulers

LENGTHS = ('begin', 'end', 'total_iters', 'T_max', 'total_steps')


@contextmanager
def fitted_schedules(runner) -> Iterator[None]:
    """While a checkpoint is loaded: schedules keep the length that the config gives.

    A checkpoint brings the ``end`` of its own run. Where that of this run is another
    (it goes on for longer), the values become those that a run of this length would
    have had from its first iteration; else they are the checkpoint's.
    """
    schedulers = named_schedulers(runner.param_schedulers)
    fresh = [copy.deepcopy(s.state_dict()) for s in schedulers.values()]
    yield
    schedulers = named_schedulers(runner.param_schedulers)
    changed = [
        f'{place}.{key} from {getattr(scheduler, key)} to {state[key]}'
        for (place, scheduler), state in zip(schedulers.items(), fresh, strict=False)
        for key in LENGTHS
        if key in state and getattr(scheduler, key) != state[key]
    ]
    if not changed or len(fresh) != len(schedulers):
        return
    if any(not _counts_alone(scheduler) for scheduler in schedulers.values()):
        runner.logger.warning(
            f'schedules stay as long as the checkpoint has them: {", ".join(changed)} '
            'would need all values of the run so far'
        )
        return
    _replay(list(schedulers.values()), fresh, runner.iter)
    runner.logger.warning(
        f'the length of schedules changes, {", ".join(changed)}: from here on their '
        'values are those of a run that had this length from its first iteration'
    )


def _replay(schedulers: list, fresh: list[dict], steps: int) -> None:
    for scheduler, state in zip(schedulers, fresh, strict=True):
        scheduler.load_state_dict(dict(state, last_step=-1, _global_step=-1))
        name = scheduler.param_name
        groups = scheduler.optimizer.param_groups
        scheduler.base_values = [group[f'initial_{name}'] for group in groups]
        for group, value in zip(groups, scheduler.base_values, strict=True):
            group[name] = value
        # A count of 0 would make it suspect that the optimizer has not stepped
        counter = getattr(scheduler.optimizer, '_global_step', -1)
        scheduler.optimizer._global_step = max(counter, steps)
    for _ in range(steps + 1):
        for scheduler in schedulers:
            scheduler.step()


def _counts_alone(scheduler) -> bool:
    """Whether the value depends on nothing but the number of iterations."""
    return not (scheduler.by_epoch or kind_of(scheduler).startswith('ReduceOnPlateau'))
