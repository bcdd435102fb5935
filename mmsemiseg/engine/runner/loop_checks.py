"""Settings of a training loop, checked before anything is built or moved."""

from collections.abc import Mapping
from typing import Any

from ...utils.settings import check_integers, did_you_mean

LABELED = 'labeled'
STREAMS = (LABELED, 'unlabeled', 'source')  # names that methods here may read


def names_streams(dataloader: Any) -> bool:
    """Whether a ``train_dataloader`` maps names of streams to dataloaders."""
    return (
        isinstance(dataloader, Mapping)
        and 'dataset' not in dataloader
        and any(
            isinstance(part, Mapping) and 'dataset' in part
            for part in dataloader.values()
        )
    )


def check_loop_reads(train_cfg: Any, dataloader: Any) -> None:
    """Raise ValueError where a loop of MMEngine is to read named streams."""
    if not isinstance(train_cfg, Mapping) or not names_streams(dataloader):
        return
    by_epoch = train_cfg.get('by_epoch')
    default = 'EpochBasedTrainLoop' if by_epoch else 'IterBasedTrainLoop'
    kind = train_cfg.get('type', default)
    kind = getattr(kind, '__name__', kind)
    if kind in ('EpochBasedTrainLoop', 'IterBasedTrainLoop'):
        raise ValueError(
            f'train_dataloader has the streams {list(dataloader)}, but {kind} reads '
            "one dataloader alone: set train_cfg=dict(type='SemiTrainLoop', "
            'max_iters=..., val_interval=...). It counts iterations, since an epoch of '
            'several streams has no one length'
        )


def check_lengths(
    max_iters: int, dynamic_intervals: list | None = None, **settings: int
) -> None:
    """``max_iters``, intervals and counts of a loop are integers of at least 1."""
    if isinstance(max_iters, float) and max_iters.is_integer():  # as MMEngine allows
        max_iters = int(max_iters)
    settings = dict(max_iters=max_iters, **settings)
    check_integers(1, **{f'train_cfg.{name}': n for name, n in settings.items()})
    for interval in dynamic_intervals or ():
        check_integers(1, **{'intervals in train_cfg.dynamic_intervals': interval[-1]})


def check_stream_names(given: Mapping[str, Any], model: Any, logger=None) -> None:
    """Compare the streams of ``train_dataloader`` with those that ``model`` reads.

    The attribute ``reads_streams`` of a method has the names that it needs and further
    names that it reads; None, or a model without it, is not checked. A stream with a
    usual name that is not read is warned of; any other name is an error.

    Raises:
        ValueError: A name is unknown, or a stream that the model needs is missing.
    """
    reads = getattr(model, 'reads_streams', None)
    if reads is None:
        return
    needed, further = reads
    known, kind = [*needed, *further], type(model).__name__
    unknown = [name for name in given if name not in (*known, *STREAMS)]
    missing = [name for name in needed if name not in given]
    if unknown:
        near = did_you_mean(unknown[0], [*missing, *known])
        raise ValueError(
            f'train_dataloader has the stream {unknown[0]!r}, but {kind} reads {known}'
            f'{near}. A method of your own names what it reads in `reads_streams`'
        )
    if missing:
        raise ValueError(
            f'{kind} needs the streams {list(needed)}, but train_dataloader has '
            f'{list(given)}: {missing[0]!r} is missing'
        )
    unread = [name for name in given if name not in known]
    if unread and logger is not None:
        logger.warning(
            f'{kind} does not read the streams {unread}: they are loaded for nothing, '
            'unless a hook uses them'
        )


def check_accumulation(runner, accumulation: int) -> None:
    """One count of batches, in one place."""
    check_integers(1, **{'train_cfg.accumulation': accumulation})
    wrapper = runner.optim_wrapper
    if isinstance(wrapper, dict):
        counts = wrapper.get('accumulative_counts', 1)
    else:
        counts = getattr(wrapper, '_accumulative_counts', 1)
    if counts != 1:
        raise ValueError(
            'an iteration of SemiTrainLoop is one optimizer step: instead of '
            f'optim_wrapper.accumulative_counts={counts} set '
            f'train_cfg.accumulation={counts}; max_iters, schedules and intervals then '
            'count optimizer steps'
        )
