"""Read the config that a checkpoint holds as text, without running it."""

import ast
import math
from collections.abc import Mapping
from typing import Any

from mmengine.registry import Registry
from mmengine.utils import get_object_from_string
from mmseg import registry

SCOPES = ('mmengine', 'mmcv', 'mmseg', 'mmdet', 'mmpretrain')
NAMES = dict(inf=math.inf, nan=math.nan)


def parse_config_text(text: str) -> dict:
    """The settings of a config as ``Config.pretty_text`` writes it.

    Plain values, lists, tuples, dicts and calls of ``dict`` are read; nothing is
    executed.

    Raises:
        ValueError: The text has something else in it.

    >>> parse_config_text("model = dict(type='SupOnly', sizes=(1, -2.5))")
    {'model': {'type': 'SupOnly', 'sizes': (1, -2.5)}}
    """
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise ValueError(f'it is no Python text ({error})') from error
    settings = {}
    for line in lines:
        if not isinstance(line, ast.Assign) or not isinstance(
            line.targets[0], ast.Name
        ):
            raise ValueError(f'line {line.lineno} is no plain setting')
        settings[line.targets[0].id] = _value(line.value)
    return settings


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.Name) and node.id in NAMES:
        return NAMES[node.id]
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kinds = {ast.List: list, ast.Tuple: tuple, ast.Set: set}
        return kinds[type(node)](_value(one) for one in node.elts)
    if isinstance(node, ast.Dict) and None not in node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key): _value(value) for key, value in pairs}
    if isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict':
        return _dict(node)
    raise ValueError(f'line {node.lineno} has more than plain values')


def _dict(node: ast.Call) -> dict:
    if any(word.arg is None for word in node.keywords):
        raise ValueError(f'line {node.lineno} has more than plain values')
    values = {}
    for argument in node.args:
        values.update(_value(argument))
    values.update({word.arg: _value(word.value) for word in node.keywords})
    return values


def foreign_types(cfg: Any) -> list[str]:
    """The ``type`` names with dots that are of no registry.

    mmengine imports such a name and calls what it finds, whatever that is.

    >>> foreign_types([dict(type='mmseg.EncoderDecoder'), dict(type='os.system')])
    ['os.system']
    """
    values = cfg.values() if isinstance(cfg, Mapping) else cfg
    found = []
    if isinstance(cfg, Mapping) and isinstance(cfg.get('type'), str):
        kind = cfg['type']
        if '.' in kind and not _is_registered(kind):
            found.append(kind)
    for value in values:
        if isinstance(value, (Mapping, list, tuple)):
            found += foreign_types(value)
    return found


def _is_registered(kind: str) -> bool:
    if kind.rpartition('.')[0] in SCOPES:
        return True
    registries = [one for one in vars(registry).values() if isinstance(one, Registry)]
    named = get_object_from_string(kind)
    return any(
        named is known for one in registries for known in one.module_dict.values()
    )
