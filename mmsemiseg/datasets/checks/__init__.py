"""Checks of files, streams and settings against each other, before an iteration."""

from .inspect import check_streams, inspect_streams
from .model_settings import ModelSettings, model_settings
from .streams import HELD_OUT, StreamFiles, leaf_datasets, stream_files

__all__ = [
    'HELD_OUT',
    'ModelSettings',
    'StreamFiles',
    'check_streams',
    'inspect_streams',
    'leaf_datasets',
    'model_settings',
    'stream_files',
]
