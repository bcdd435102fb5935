from .finite import describe_broken, not_finite
from .fitting import check_resumable, require_fit
from .plain import plain_values, restore_history
from .reading import CheckpointError, is_local, read_checkpoint
from .run_folder import describe_way_on, find_resumable
from .writing import atomic_write

__all__ = [
    'CheckpointError',
    'atomic_write',
    'check_resumable',
    'describe_broken',
    'describe_way_on',
    'find_resumable',
    'is_local',
    'not_finite',
    'plain_values',
    'read_checkpoint',
    'require_fit',
    'restore_history',
]
