"""Argument texts make sense on their own, as an editor shows them."""

import ast
import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENTRY = re.compile(r'(\w[\w, *]*): ?(.*)')
OF_THEIR_BASE = ('PerClassIoUMetric', 'UnlabeledDataset')  # further arguments
LEANS = re.compile(r'(Of|As|Its|Their|That|Those|Whose|Among|Likewise|The same)\b')
SYMBOL = re.compile(r'[A-Za-z]\w?\'?\.|\(.*')  # 'C.', or a shape: '(N, C) of ...'


def fault(text: str) -> str | None:
    """Why an argument text is no sentence of its own; None: it is one."""
    if LEANS.match(text):
        return 'needs the text of another argument'
    if SYMBOL.fullmatch(text):
        return 'is a symbol or a shape without its meaning'
    if not text.endswith('.'):
        return 'has no final period'
    return None


def entries(doc: str) -> list[tuple[str, str]]:
    """Name and text of each argument and attribute in a docstring."""
    found = []
    for part in re.findall(r'(?ms)^(?:Args|Attributes):\n(.*?)(?:\n\n(?! )|\Z)', doc):
        for line in textwrap.dedent(part).splitlines():
            start = ENTRY.fullmatch(line)
            if start and not line.startswith(' '):
                found.append(list(start.groups()))
            elif found:
                found[-1][1] += f' {line.strip()}'
    return [(name, text.strip()) for name, text in found]


def faults(path: Path) -> list[str]:
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    return [
        f'{path.relative_to(ROOT)}: {getattr(node, "name", "module")}: {name}: '
        f'{text!r} {why}'
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, kinds)
        for name, text in entries(ast.get_docstring(node) or '')
        if (why := fault(text))
    ]


def test_argument_texts_stand_alone():
    files = [
        file for top in ('mmsemiseg', 'tools') for file in (ROOT / top).rglob('*.py')
    ]
    found = [text for file in sorted(files) for text in faults(file)]
    assert not found, '\n'.join(found)


def registered(path: Path, registry: str = r'\w+') -> list[ast.ClassDef]:
    """Classes of a file that a decorator registers."""
    return [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
        and any(
            re.match(rf'{registry}\.register_module', ast.unparse(one))
            for one in node.decorator_list
        )
    ]


def untold(cls: ast.ClassDef) -> list[str]:
    """Arguments of the constructor that the docstring has no text of."""
    doc = ast.get_docstring(cls) or ''
    names = {name for entry, _ in entries(doc) for name in re.findall(r'\w+', entry)}
    found = [one for one in cls.body if getattr(one, 'name', '') == '__init__']
    arguments = [one.args.args[1:] + one.args.kwonlyargs for one in found]
    return [one.arg for own in arguments for one in own if one.arg not in names]


def test_constructors_of_registered_classes_have_texts():
    found = {
        node.name: missing
        for file in sorted((ROOT / 'mmsemiseg').rglob('*.py'))
        for node in registered(file)
        if node.name not in OF_THEIR_BASE and (missing := untold(node))
    }
    assert not found


def test_each_hook_says_who_adds_it():
    folder = ROOT / 'mmsemiseg' / 'engine' / 'hooks'
    hooks = [node for file in folder.glob('*.py') for node in registered(file, 'HOOKS')]
    assert len(hooks) > 10
    says = re.compile('SemiRunner` (adds|uses)|``custom_hooks``|tools/test.py')
    silent = [
        hook.name
        for hook in hooks
        if not says.search(' '.join(ast.get_docstring(hook).split()))
    ]
    assert not silent


def test_entries_are_read_and_judged():
    doc = (
        'Blur.\n\nArgs:\n    prob: Of a blur,\n        in [0, 1].\n    size: C.\n\nEnd.'
    )
    assert entries(doc) == [('prob', 'Of a blur, in [0, 1].'), ('size', 'C.')]
    assert [bool(fault(text)) for _, text in entries(doc)] == [True, True]
    assert fault('Probability of a blur.') is None
    assert fault('Probability of a blur') == 'has no final period'
