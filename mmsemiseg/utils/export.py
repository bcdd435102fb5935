"""One network of a semi-supervised method as a plain segmentor of MMSegmentation."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import Registry
from mmseg import registry
from mmseg.registry import MODELS
from torch import Tensor, nn

from .preprocessor import choose_preprocessor
from .pretrained import without_pretrained
from .tool_settings import find_pipeline

PACKAGE = __name__.partition('.')[0]
KEPT = (
    'default_scope',
    'env_cfg',
    'log_processor',
    'log_level',
    'tta_model',
    'tta_pipeline',
)


class Export(NamedTuple):
    """A network as a plain mmseg model: what :func:`export_network` returns.

    Attributes:
        network: Name of the network in the method.
        config: Config with ``model``, ``test_pipeline`` and, for testing, ``test_*``.
        checkpoint: Checkpoint with ``state_dict`` and ``meta.dataset_meta``.
        needs: Place in ``config`` where each type of this package is found first, by
            type.
    """

    network: str
    config: Config
    checkpoint: dict
    needs: dict[str, str]


def export_network(
    cfg: Config,
    checkpoint: Mapping,
    network: str | None = None,
    inference_only: bool = False,
) -> Export:
    """One network of a training checkpoint, as ``init_model`` of mmseg takes it.

    The config imports this package only if something in it needs this package.

    Args:
        cfg: Config of the run that wrote the checkpoint.
        checkpoint: Content of the checkpoint file.
        network: Name in the method's ``networks``; None: that of ``predict_with``.
        inference_only: Whether data set and metrics are left out; the test pipeline
            stays.

    Raises:
        ValueError: The config is of no semi-supervised method, ``network`` is none of
            its networks, or the checkpoint does not hold what the config says.
    """
    cfg = Config(cfg.to_dict())
    if not isinstance(cfg.get('model'), Mapping):
        raise ValueError('the config has no model')
    cfg.model = without_pretrained(cfg.model)
    model = MODELS.build(cfg.model)
    network = _chosen(model, network)
    weights = _weights(model, network, checkpoint)
    meta = dict(dataset_meta=_dataset_meta(checkpoint))
    plain = dict(
        {key: cfg[key] for key in KEPT if key in cfg},
        model=_segmentor(cfg.model),
        **_tool_settings(cfg, inference_only),
        default_hooks=dict(visualization=dict(type='SegVisualizationHook')),
        visualizer=dict(
            type='SegLocalVisualizer',
            vis_backends=[dict(type='LocalVisBackend')],
            name='visualizer',
        ),
    )
    needs = {}
    for place, kind in _types(plain):
        if _is_ours(kind):
            needs.setdefault(kind, place)
    plain.update(_imports(cfg.get('custom_imports') or {}, bool(needs)))
    content = dict(state_dict=weights, meta=meta)
    return Export(network, Config(plain), content, needs)


# Weights


def _chosen(model: nn.Module, network: str | None) -> str:
    name = type(model).__name__
    if not hasattr(model, 'networks'):
        raise ValueError(f'model.type {name} is no semi-supervised method: it is plain')
    allowed = list(model.networks)
    if network is None and model.predict_with not in allowed:
        raise ValueError(
            f'predict_with of the config is {model.predict_with!r}, of several '
            f'networks: choose one of {allowed}'
        )
    network = network or model.predict_with
    if network not in allowed:
        raise ValueError(
            f'network must be one of {allowed} of this {name}, but got {network!r}'
        )
    return network


def _weights(model: nn.Module, network: str, checkpoint: Mapping) -> OrderedDict:
    """The network's part of the checkpoint, under the names of a plain segmentor."""
    state = checkpoint.get('state_dict')
    if not isinstance(state, Mapping) or not state:
        raise ValueError(
            "the file is not the checkpoint of a run: it has no 'state_dict', but "
            f'{_some(checkpoint)}'
        )
    chosen = model.networks[network]
    prefix = next(f'{name}.' for name, part in model.named_modules() if part is chosen)
    _check_names(model, network, prefix, state)
    weights = OrderedDict(
        (name.removeprefix(prefix), value.detach().clone())
        for name, value in state.items()
        if name.startswith(prefix)
    )
    _check_shapes(chosen, network, weights)
    # Versions of the modules, by which some rename old weights
    weights._metadata = OrderedDict(
        (f'{name}.'.removeprefix(prefix)[:-1], value)
        for name, value in getattr(state, '_metadata', {}).items()
        if f'{name}.'.startswith(prefix)
    )
    return weights


def _check_names(
    model: nn.Module, network: str, prefix: str, state: Mapping[str, Tensor]
) -> None:
    kind = type(model).__name__
    if not any(name.startswith(prefix) for name in state):
        plain = set(model.networks[network].state_dict()) <= set(state)
        found = 'is one of a plain segmentor already' if plain else 'has'
        raise ValueError(
            f'the checkpoint has no weights of {network} of this {kind} ({prefix}*): '
            f'it {found} ({_some(state)})'
        )
    own = model.state_dict()
    missing = [k for k in own if k not in state and 'num_batches_tracked' not in k]
    problems = dict(missing=missing, unknown=[k for k in state if k not in own])
    found = [f'{len(k)} {name} ({_some(k)})' for name, k in problems.items() if k]
    if found:
        raise ValueError(
            f'the checkpoint is not of this {kind}: of its weights are '
            f'{", ".join(found)}. Take the config.py that its run has written'
        )


def _check_shapes(chosen: nn.Module, network: str, weights: Mapping) -> None:
    own = {name: tuple(value.shape) for name, value in chosen.state_dict().items()}
    other = [
        f'{name} is {tuple(value.shape)}, in the config {own[name]}'
        for name, value in weights.items()
        if tuple(value.shape) != own[name]
    ]
    if other:
        raise ValueError(
            f'{len(other)} weights of {network} have other shapes: {_some(other)}'
        )


def _dataset_meta(checkpoint: Mapping) -> dict:
    meta = checkpoint.get('meta') or {}
    found = meta.get('dataset_meta')
    if not isinstance(found, Mapping) or not found.get('classes'):
        raise ValueError(
            'the file is not the checkpoint of a run: it has no classes in '
            f'meta.dataset_meta, but in meta {_some(meta) or "nothing"}'
        )
    return dict(found)


def _some(names) -> str:
    names = [str(name) for name in names]
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)


# Config


def _segmentor(model: Mapping) -> dict:
    """The config of each network of a method."""
    student = dict(model['student'])
    own = student.pop('data_preprocessor', None)
    preprocessor = choose_preprocessor(model.get('data_preprocessor'), own)
    if preprocessor is None:
        return student
    preprocessor = dict(preprocessor)
    if _is_ours(preprocessor.get('type', '')):
        preprocessor['type'] = 'SegDataPreProcessor'
    return dict(student, data_preprocessor=preprocessor)


def _tool_settings(cfg: Config, inference_only: bool) -> dict:
    """``test_*`` of a config; without test data those of the validation."""
    part = 'test' if cfg.get('test_dataloader') is not None else 'val'
    loader = cfg.get(f'{part}_dataloader') or {}
    evaluator = cfg.get(f'{part}_evaluator')
    pipeline = find_pipeline(loader.get('dataset')) or cfg.get('test_pipeline')
    settings = dict(test_pipeline=pipeline) if pipeline else {}
    if inference_only and pipeline:
        settings['test_dataloader'] = dict(dataset=dict(pipeline=pipeline))
    elif not inference_only and loader and evaluator:
        loop = dict(cfg.get('test_cfg') or {})
        if _is_ours(loop.get('type', PACKAGE)):  # ours test several networks
            loop = dict(type='TestLoop')
        settings.update(test_dataloader=loader, test_evaluator=evaluator, test_cfg=loop)
    return settings


def _types(cfg: Any, place: str = '') -> Iterator[tuple[str, str]]:
    """(place, type) of everything that a config builds."""
    if isinstance(cfg, Mapping):
        if isinstance(cfg.get('type'), str):
            yield place, cfg['type']
        items = cfg.items()
    else:
        items = enumerate(cfg) if isinstance(cfg, (list, tuple)) else ()
    for key, value in items:
        yield from _types(value, f'{place}.{key}' if place else str(key))


def _is_ours(kind: str) -> bool:
    """Whether a ``type`` of a config names a class of this package."""
    if kind.partition('.')[0] == PACKAGE:
        return True
    name = kind.removeprefix('mmseg.')
    own = [value for value in vars(registry).values() if isinstance(value, Registry)]
    classes = [one.module_dict.get(name) for one in own]
    return any(
        getattr(c, '__module__', '').partition('.')[0] == PACKAGE for c in classes
    )


def _imports(custom: Mapping, needed: bool) -> dict:
    """``custom_imports`` with this package where it is needed, else without it."""
    named = custom.get('imports') or []
    named = [named] if isinstance(named, str) else named
    named = [name for name in named if name.partition('.')[0] != PACKAGE]
    named = [PACKAGE] * needed + named
    return dict(custom_imports=dict(custom, imports=named)) if named else {}
