"""Where the values of a config come from: the file, and in Python files the line."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import NamedTuple

from mmengine.config import Config
from mmengine.fileio import load

MISSING = object()


class Source(NamedTuple):
    """Where a value is written; the line is None where it was not found."""

    file: Path
    line: int | None

    def __str__(self) -> str:
        file = self.file
        if file.is_relative_to(Path.cwd()):
            file = file.relative_to(Path.cwd())
        return str(file) if self.line is None else f'{file}:{self.line}'


class ConfigFile:
    """A config file with the files that it inherits from.

    Args:
        path: Path of the config. Python files name their bases in ``_base_``.

    Raises:
        ValueError: The file, or one that it inherits from, has its bases from
            ``read_base()``.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path).resolve()
        self.values = Config.fromfile(self.path, import_custom_modules=False).to_dict()
        self.assigned = {}
        if self.path.suffix == '.py':
            self.assigned = assignments(self.path)
            names = self.assigned.get('_base_')
            names = [] if names is None else ast.literal_eval(names)
        else:
            names = load(self.path).get('_base_', [])
        names = [names] if isinstance(names, str) else names
        self.bases = [ConfigFile(base_path(name, self.path.parent)) for name in names]

    def source(self, path: tuple) -> Source:
        """Where the value of the path is written, here or in a file behind this one."""
        line, exact, variable = self._find(path)
        if variable:
            for base in self.bases:
                if lookup(base.values, variable) is not MISSING:
                    return base.source(variable)
        if not exact:
            value = lookup(self.values, path)
            for base in self.bases:
                if lookup(base.values, path) == value:
                    return base.source(path)
        return Source(self.path, line)

    def _find(self, path):
        """(line, whether it is the value's own, path of a base's variable or None)."""
        node = self.assigned.get(path[0])
        if node is None:
            return None, False, None
        line, rest = node.lineno, path[1:]
        while True:
            node = self._follow(node)
            variable = base_variable(node)
            if variable:
                return line, True, (*variable, *rest)
            if not rest:
                return line, True, None
            child, place = self._child(node, rest[0])
            if child is None:
                return line, False, None
            node, line, rest = child, place, rest[1:]

    def _in_bases(self, path):
        return any(lookup(base.values, path) is not MISSING for base in self.bases)

    def _follow(self, node):
        """Value that a variable of this file was given."""
        seen = set()
        while isinstance(node, ast.Name) and node.id in self.assigned.keys() - seen:
            seen.add(node.id)
            node = self.assigned[node.id]
        return node

    def _child(self, node, key):
        """(the node of a key in a dict or of a place in a list, its line)."""
        if isinstance(node, (ast.List, ast.Tuple)):
            for place, (child, line) in enumerate(self._elements(node)):
                if place == key:
                    return child, line
        elif isinstance(node, ast.Dict):
            for name, value in zip(node.keys, node.values, strict=True):
                if isinstance(name, ast.Constant) and name.value == key:
                    return value, name.lineno
        elif isinstance(node, ast.Call) and getattr(node.func, 'id', None) == 'dict':
            for keyword in node.keywords:
                if keyword.arg == key:
                    return keyword.value, keyword.lineno
            spread = [one.value for one in node.keywords if one.arg is None]
            for other in [*reversed(spread), *node.args]:
                other = self._follow(other)
                inside = (*(base_variable(other) or ()), key)
                if len(inside) > 1 and self._in_bases(inside):
                    return ast.Attribute(other, key), other.lineno
                child, line = self._child(other, key)
                if child is not None:
                    return child, line
        return None, None

    def _elements(self, node):
        """(node, line) of each element of a list, up to one that is not understood."""
        for one in node.elts:
            if not isinstance(one, ast.Starred):
                yield one, one.lineno
                continue
            many, part = one.value, slice(None)  # a[1:] has a slice of its own
            if isinstance(many, ast.Subscript) and isinstance(many.slice, ast.Slice):
                ends = (many.slice.lower, many.slice.upper, many.slice.step)
                part = slice(*(end and ast.literal_eval(end) for end in ends))
                many = many.value
            many = self._follow(many)
            if isinstance(many, (ast.List, ast.Tuple)):
                yield from list(self._elements(many))[part]
                continue
            inside = base_variable(many)
            found = [lookup(base.values, inside) for base in self.bases if inside]
            values = next((one for one in found if one is not MISSING), None)
            if not isinstance(values, (list, tuple)):
                return
            for place in range(len(values))[part]:
                yield ast.Attribute(many, place), one.lineno


def assignments(path: Path) -> dict[str, ast.expr]:
    """What each variable of a Python file is given last, in the file's own words."""
    text = path.read_text(encoding='utf-8')
    text = re.sub(r'\{\{(.*?)\}\}', r'  \1  ', text)  # columns and lines stay
    found = {}
    for node in ast.parse(text, str(path)).body:
        if isinstance(node, ast.With):
            raise ValueError(
                f'sources are found through _base_, but {path} inherits by read_base()'
            )
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node.value
    return found


def base_variable(node: ast.expr) -> tuple[str, ...] | None:
    """The path of a variable of a base: ('a', 'b') for `_base_.a.b`."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    is_base = isinstance(node, ast.Name) and node.id == '_base_'
    return tuple(reversed(names)) if names and is_base else None


def base_path(name: str, folder: Path) -> Path:
    """The file of an entry of ``_base_``; `mmseg::file` is one of mmseg's configs."""
    scope, found, file = name.rpartition('::')
    if not found:
        return folder / name
    package = Path(importlib.util.find_spec(scope).origin).parent
    return package / '.mim' / 'configs' / file


def lookup(values: dict, path: tuple) -> object:
    """The value at a path, or `MISSING`."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return values
