"""What exact resume needs beyond weights, optimizer and schedules."""

import torch
from mmengine.device import get_device
from mmengine.dist import all_gather_object, get_rank, get_world_size


class ResumeError(RuntimeError):
    """A run cannot be continued as it was."""


def run_state(loop) -> dict:
    """State of a ``SemiTrainLoop`` and what its floats depend on. All ranks call it.

    Of the random generators those of each process are kept, in the order of ranks.
    """
    state = loop.state_dict()
    return dict(
        state,
        random=all_gather_object(state['random']),
        **_surroundings(),
    )


def restore(loop, state: dict, exact: bool = True) -> list[str]:
    """Let ``loop`` go on from a :func:`run_state`.

    Returns:
        Where this run differs, so that it will not equal the uninterrupted one bit by
        bit.

    Raises:
        ResumeError: ``exact``, and it differs in a setting: the number of processes
            or threads, the device, the layout in memory, the batches, the data.
    """
    # Checkpoints from before there was this setting do not name it
    state = dict(dict(channels_last=False), **state)
    differences = _differences(state, dict(loop.state_dict(), **_surroundings()))
    if differences and exact:
        raise ResumeError(
            f'this run is not the one that was saved: {"; ".join(differences)}. Start '
            'it as it was, or, if it need not equal the uninterrupted run bit by bit, '
            'go on with exact_resume=False'
        )
    rank = get_rank()
    ranks = state['random']
    # A process that was not there keeps its own fresh generators
    random = ranks[rank] if rank < len(ranks) else None
    loop.load_state_dict(dict(state, random=random))
    return differences + _version_differences(state)


def _surroundings() -> dict:
    return dict(
        processes=get_world_size(),
        threads=torch.get_num_threads(),
        device=get_device(),
        versions=dict(torch=str(torch.__version__), cpu=_cpu_instructions()),
    )


def _cpu_instructions() -> str:
    backend = getattr(torch.backends, 'cpu', None)  # torch >= 2.1
    return backend.get_cpu_capability() if backend else 'unknown'


def _differences(saved: dict, now: dict) -> list[str]:
    settings = ['processes', 'device', 'accumulation', 'channels_last']
    if now['device'] == 'cpu':
        settings.append('threads')
    found = [
        f'{name} was {saved[name]!r}, now {now[name]!r}'
        for name in settings
        if saved[name] != now[name]
    ]
    for stream in {**saved['streams'], **now['streams']}:
        old, new = (state['streams'].get(stream) for state in (saved, now))
        if old is None or new is None:
            found.append(f"the stream '{stream}' was {'not ' * (old is None)}there")
            continue
        found += [
            f"{name} of the stream '{stream}' was {old[name]}, now {new[name]}"
            for name in ('images', 'batch_size')
            if old[name] != new[name]
        ]
    return found


def _version_differences(saved: dict) -> list[str]:
    now = _surroundings()['versions']
    return [
        f'{name} was {saved["versions"].get(name)}, now {value}'
        for name, value in now.items()
        if saved['versions'].get(name) != value
    ]
