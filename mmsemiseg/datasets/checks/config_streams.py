"""The streams and the model of a config, built to be looked at."""

from collections.abc import Mapping
from typing import Any

from mmseg.registry import DATASETS, MODELS
from torch import nn


def stream_configs(cfg: Any) -> dict[str, Any]:
    """Config of the data set of each stream: training by name, 'val' and 'test'.

    Test data that are the validation data are left out.

    Args:
        cfg: Config of a run.

    Raises:
        ValueError: The config has no data.
    """
    loaders = cfg.get('train_dataloader') or {}
    if 'dataset' in loaders:
        loaders = dict(labeled=loaders)
    configs = {
        name: loader.get('dataset')
        for name, loader in loaders.items()
        if isinstance(loader, Mapping)
    }
    for name in ('val', 'test'):
        if cfg.get(f'{name}_dataloader'):
            configs[name] = cfg[f'{name}_dataloader']['dataset']
    if configs.get('test') == configs.get('val'):
        configs.pop('test', None)
    if not configs:
        raise ValueError(
            'the config has no train_dataloader, val_dataloader or test_dataloader'
        )
    return configs


def build_streams(configs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(data sets by name, problems of those that cannot be built)."""
    streams, problems = {}, []
    for name, config in configs.items():
        try:
            streams[name] = DATASETS.build(config)
        except (ValueError, FileNotFoundError, AssertionError) as error:
            problems.append(f'stream {name!r} cannot be built: {error}')
        except Exception as error:  # an extension of the user's may raise anything
            text = f'{type(error).__name__}: {error}'
            problems.append(f'stream {name!r} cannot be built: {text}')
    return streams, problems


def build_model(cfg: Any) -> tuple[nn.Module | None, list[str]]:
    """(model or None, problems); weights are neither made nor loaded."""
    if not cfg.get('model'):
        return None, []
    config = dict(cfg['model'])
    if cfg.get('data_preprocessor'):
        config.setdefault('data_preprocessor', cfg['data_preprocessor'])
    try:
        return MODELS.build(config), []
    except Exception as error:  # an extension of the user's may raise anything
        return None, [f'the model cannot be built: {error}']


def evaluator_configs(cfg: Any) -> dict[str, Any]:
    """Configs of the metrics by setting."""
    names = ('val_evaluator', 'test_evaluator')
    return {name: cfg[name] for name in names if cfg.get(name)}
