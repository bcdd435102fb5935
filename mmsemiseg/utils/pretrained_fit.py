"""Whether pretrained weights arrive in the network that names them."""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from .pretrained import PRETRAINED, WAYS_OUT, find_pretrained

LEAST = 0.1  # share of a network's values that a file must fill


@contextmanager
def fitting_pretrained(root: nn.Module, cfg: Mapping, name: str) -> Iterator[None]:
    """Context in which ``init_weights`` fails if a file is of another network.

    Loading is not strict, and each backbone renames and resizes what it loads in a way
    of its own. So values are compared: those that the network has after loading with
    those in the file.

    Args:
        root: Network to check, with all modules in it that have pretrained weights.
        cfg: Config that the network was built from, for messages.
        name: Place of ``cfg`` in the whole config, for messages.

    Raises:
        ValueError: From ``init_weights``: less than a tenth of a module's values are
            in the file that its ``init_cfg`` or ``pretrained`` names.
    """
    settings = find_pretrained(cfg, name)
    with ExitStack() as stack:
        for path, module in root.named_modules():
            for init_cfg in _pretrained(module):
                place = f'{name}.{path}' if path else name
                file = str(init_cfg['checkpoint'])
                named = [key for key, value in settings.items() if str(value) == file]
                own = [key for key in named if key.startswith(place)]
                setting = (own or named or [f'{place}.init_cfg'])[0]
                stack.enter_context(_checked(module, init_cfg, setting))
        yield


def require_pretrained_fit(module: nn.Module, init_cfg: Mapping, setting: str) -> None:
    """Refuse a file of which next to nothing is in a module.

    Raises:
        ValueError: Names the setting, the file, the module and names of both.
    """
    file = str(init_cfg['checkpoint'])
    content = CheckpointLoader.load_checkpoint(file, map_location='cpu')
    named = dict(named_tensors(content))
    values = [v for v in module.state_dict().values() if v.is_floating_point()]
    by_shape = defaultdict(list)
    for value in named.values():
        by_shape[value.shape].append(value)
    # Fresh BatchNorms and biases of all networks agree, which says nothing
    values = [value for value in values if not _is_constant(value)] or values
    found = sum(v.numel() for v in values if _is_in(v.cpu(), by_shape[v.shape]))
    share = found / max(sum(v.numel() for v in values), 1)
    if share >= LEAST:
        if share < 0.5:
            print_log(
                f'{setting}: {file} fills {share:.0%} of the {type(module).__name__}, '
                'the rest starts at random',
                'current',
                logging.WARNING,
            )
        return
    raise ValueError(
        f'{setting}: {file} does not hold the weights of the {type(module).__name__}, '
        f'which has {_some(module.state_dict())}: the file has {_some(named)}, which '
        f'fill {share:.0%} of it, and the rest would start at random. {WAYS_OUT}'
    )


def _pretrained(module: nn.Module) -> list[Mapping]:
    init_cfg = getattr(module, 'init_cfg', None) or []
    parts = [init_cfg] if isinstance(init_cfg, Mapping) else init_cfg
    return [
        part
        for part in parts
        if isinstance(part, Mapping)
        and part.get('type') in PRETRAINED
        and part.get('checkpoint') is not None
    ]


@contextmanager
def _checked(module: nn.Module, init_cfg: Mapping, setting: str) -> Iterator[None]:
    """A module whose ``init_weights`` is followed by the check."""
    original, hidden = module.init_weights, vars(module).get('init_weights')

    def init_weights(*args: Any, **kwargs: Any) -> None:
        try:
            original(*args, **kwargs)
        except AssertionError as error:  # of a prefix that is not in the file
            if 'is not in the pretrained model' not in str(error):
                raise
            raise ValueError(
                f'{setting}: {init_cfg["checkpoint"]} has nothing below the prefix '
                f'{init_cfg.get("prefix")!r}. {WAYS_OUT}'
            ) from error
        require_pretrained_fit(module, init_cfg, setting)

    module.init_weights = init_weights
    try:
        yield
    finally:
        if hidden is None:
            del module.init_weights
        else:
            module.init_weights = hidden


def named_tensors(content: Any, name: str = '') -> Iterator[tuple[str, Tensor]]:
    """All floating tensors of a file, however they are nested."""
    if isinstance(content, Tensor):
        if content.is_floating_point():
            yield name, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from named_tensors(value, str(key))


def _is_constant(value: Tensor) -> bool:
    return value.numel() < 2 or bool((value == value.flatten()[0]).all())


def _is_in(value: Tensor, candidates: list[Tensor]) -> bool:
    return any(torch.equal(value, other.to(value.dtype)) for other in candidates)


def _some(names: Any) -> str:
    names = list(names)
    return f'{len(names)} tensors ({", ".join(names[:3])}{", ..." * (len(names) > 3)})'
