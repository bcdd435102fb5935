"""A page for each package that docs/api.md lists: the names in its `__all__`.

They are written to docs/api at the beginning of a build. A name is on the page of the
package that it is defined in, once.
"""

import inspect
import re
from importlib import import_module
from pathlib import Path

from index_toctrees import toctree

LIST = 'docs/api'
SIZE = re.compile(r"(?<![\w'`])\|(\w+)\|")
ROW = re.compile(r'^\| `(mmsemiseg[\w.]*)` \| (.+?) \|$', re.MULTILINE)


def packages(root):
    """Packages in the order of the list, and what each of them is."""
    return dict(ROW.findall(Path(root, f'{LIST}.md').read_text(encoding='utf-8')))


def own_names(package, listed):
    """Public names of a package that no listed package inside of it defines."""
    module = import_module(package)
    inside = tuple(f'{p}.' for p in listed if p.startswith(f'{package}.'))
    for name in dict.fromkeys(module.__all__):
        value = getattr(module, name)
        home = f'{getattr(value, "__module__", package)}.'
        if not inspect.ismodule(value) and not home.startswith(inside or '.'):
            yield name, value


def directive(package, name, value):
    if inspect.isclass(value):
        kind = 'autoexception' if issubclass(value, Exception) else 'autoclass'
        options = [':members:', ':show-inheritance:']
    elif callable(value):
        kind, options = 'autofunction', []
    else:
        kind, options = 'py:data', [f':type: {type(value).__name__}']
    lines = [f'.. {kind}:: {package}.{name}', *(f'   {o}' for o in options)]
    return '\n'.join(lines) + '\n'


def page(package, about, listed):
    title = package.removeprefix('mmsemiseg.')
    head = [title, '=' * len(title), '', f'{about[0].upper()}{about[1:]}.', '']
    head += [f'.. py:module:: {package}', '']
    names = sorted(own_names(package, listed), key=lambda item: item[0].lower())
    return '\n'.join(head + [directive(package, *item) for item in names])


def write_pages(app):
    listed = packages(app.srcdir)
    folder = Path(app.srcdir, LIST)
    folder.mkdir(exist_ok=True)
    pages = {
        folder / f'{package}.rst': page(package, about, listed)
        for package, about in listed.items()
    }
    for path in set(folder.glob('*.rst')) - set(pages):
        path.unlink()
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding='utf-8') != text:
            path.write_text(text, encoding='utf-8')


def add_toctree(app, docname, source):
    if docname == LIST:
        source[0] += toctree(
            (package.removeprefix('mmsemiseg.'), f'api/{package}')
            for package in packages(app.srcdir)
        )


def skip_fields(app, what, name, value, skip, options):
    """Fields of named tuples say nothing that the class does not."""
    return True if type(value).__name__ == '_tuplegetter' else None


def plain_bars(app, what, name, value, options, lines):
    """In prose a bar is a bar, as in the size |Z| of a set, and no substitution."""
    block = None  # indent of the directive whose content is not prose
    for at, line in enumerate(lines):
        text = line.lstrip()
        indent = len(line) - len(text)
        if not text or block is not None and indent > block:
            continue
        block = indent if text.startswith('.. ') or text.endswith('::') else None
        if block is None and not text.startswith('>>>'):
            lines[at] = SIZE.sub(r'\\|\1\\|', line)


def setup(app):
    app.connect('builder-inited', write_pages)
    app.connect('source-read', add_toctree)
    app.connect('autodoc-skip-member', skip_fields)
    app.connect('autodoc-process-docstring', plain_bars, priority=900)
    return dict(parallel_read_safe=True)
