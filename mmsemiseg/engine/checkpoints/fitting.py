"""Whether a checkpoint is of use to a run or a model, asked before it is loaded."""

import os

from torch import nn

from .finite import describe_broken
from .reading import CheckpointError


def check_resumable(checkpoint: dict, path: str | os.PathLike) -> None:
    """Raise CheckpointError unless a run can be continued from ``checkpoint``.

    It must be whole, and its weights, buffers and moments finite.
    """
    needed = ('meta', 'state_dict', 'optimizer', 'message_hub')
    missing = [name for name in needed if not isinstance(checkpoint.get(name), dict)]
    if 'meta' not in missing and not isinstance(checkpoint['meta'].get('iter'), int):
        missing.append('meta.iter')
    if missing:
        raise CheckpointError(
            f'{os.fspath(path)} cannot be resumed: it has no {", ".join(missing)}. '
            'Take a checkpoint of the run itself, or start a new run from its weights '
            'with load_from and without resume'
        )
    if broken := describe_broken(checkpoint):
        raise CheckpointError(
            f'{os.fspath(path)} cannot be resumed: {broken}. Take an older one'
        )


def require_fit(
    model: nn.Module, checkpoint: dict, path: str | os.PathLike, strict: bool = False
) -> None:
    """Raise CheckpointError if the weights in ``checkpoint`` do not fit ``model``.

    Loading reports tensors that do not fit in a warning only. Without this check a
    wrong file would quietly mean random weights. Weights that are not finite fit none.

    Args:
        strict: Whether no tensor may be missing, left over or of another shape; else at
            least one has to fit.
    """
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict):
        kind = type(weights).__name__
        raise CheckpointError(f"{os.fspath(path)}: its 'state_dict' is a {kind}")
    if broken := describe_broken(dict(state_dict=weights)):
        raise CheckpointError(f'{os.fspath(path)} is of no use: {broken}')
    weights = {str(key).removeprefix('module.'): weights[key] for key in weights}
    for hook in model._load_state_dict_pre_hooks.values():  # may rename
        hook(weights, '', {}, False, [], [], [])
    own = {
        key: getattr(value, 'shape', None) for key, value in model.state_dict().items()
    }
    shapes = {key: getattr(value, 'shape', None) for key, value in weights.items()}
    fits = {key for key in own if key in shapes and shapes[key] == own[key]}
    if not fits:
        raise CheckpointError(
            f'{os.fspath(path)}: none of its {len(weights)} entries ({_some(weights)}) '
            f'fits {type(model).__name__} ({_some(own)})'
        )
    if not strict:
        return
    missing = [k for k in own if k not in shapes and 'num_batches_tracked' not in k]
    left_over = [k for k in shapes if k not in own]
    other = [k for k in own if k in shapes and k not in fits]
    problems = dict(missing=missing, unknown=left_over) | {'of another shape': other}
    found = [f'{len(k)} {name} ({_some(k)})' for name, k in problems.items() if k]
    if found:
        raise CheckpointError(
            f'{os.fspath(path)} is not of this {type(model).__name__}: its weights are '
            f'{", ".join(found)}'
        )


def _some(names) -> str:
    names = list(names)
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)
