"""The direction of the dependencies, and names that must be unique."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / 'mmsemiseg'
PARTS = ('models.losses', 'models.heads', 'models.memories')
TOP = ('benchmark', 'visualization')  # for tools alone
BELOW_ENGINE = ('functional', 'utils', 'datasets', 'evaluation')


def own_imports(path):
    """Modules of the package that a file imports, as `models.losses.ohem_loss`.

    `from package import name` counts as `package.name`, whatever `name` is.
    """
    here = path.relative_to(ROOT).with_suffix('').parts
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name.split('.') for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: -node.level]) if node.level else []
            base += node.module.split('.') if node.module else []
            modules = [[*base, alias.name] for alias in node.names]
        for module in modules:
            if module[0] == 'mmsemiseg':
                yield '.'.join(module[1:])


def violations(package, allowed):
    """Imports in `package` that reach neither itself, the version nor `allowed`."""
    folder = PACKAGE.joinpath(*package.split('.'))
    inside = (package, 'version', *allowed)
    return [
        f'{path.relative_to(ROOT)} imports {name}'
        for path in sorted(folder.rglob('*.py'))
        for name in own_imports(path)
        if not any(f'{name}.'.startswith(f'{prefix}.') for prefix in inside)
    ]


@pytest.mark.parametrize(
    ('package', 'allowed'),
    [
        ('functional', []),
        ('utils', []),
        ('models.losses', ['functional', 'utils']),
        ('models.heads', ['functional', 'utils']),
        ('models.memories', ['functional', 'utils']),
        ('datasets', ['functional', 'utils']),
        ('evaluation', ['functional', 'utils', 'datasets']),
        ('start', ['datasets', 'utils', '__main__']),
        ('doctor', ['datasets', 'engine', 'start', 'utils']),
        ('engine', BELOW_ENGINE),
        ('engine.checkpoints', ['functional', 'utils']),
        ('deploy', ['apis', 'engine.checkpoints', 'utils']),
        ('reporting', ['utils', 'engine.checkpoints', 'apis.config_text']),
        ('engine.hooks', [*BELOW_ENGINE, 'engine.checkpoints']),
    ],
)
def test_direction(package, allowed):
    assert violations(package, allowed) == []


def test_only_segmentors_join_the_parts():
    allowed = (
        *TOP,
        'models/segmentors',
        'models/contrast',
        'models/__init__.py',
        '__init__.py',
    )
    joins = [
        f'{path.relative_to(PACKAGE)} imports {name}'
        for path in sorted(PACKAGE.rglob('*.py'))
        if not path.relative_to(PACKAGE).as_posix().startswith(allowed)
        for name in own_imports(path)
        for part in PARTS
        if f'{name}.'.startswith(f'{part}.')
        and not path.is_relative_to(PACKAGE.joinpath(*part.split('.')))
    ]
    assert joins == []


def test_what_the_tools_share_is_on_top():
    found = [
        f'{path.relative_to(PACKAGE)} imports {name}'
        for path in sorted(PACKAGE.rglob('*.py'))
        if path.relative_to(PACKAGE).parts[0] not in TOP
        for name in own_imports(path)
        if name.split('.')[0] in TOP
    ]
    assert found == []


def test_imports_are_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(f'{__name__}.ROOT', tmp_path)
    path = tmp_path / 'mmsemiseg' / 'engine' / 'hooks' / 'x.py'
    path.parent.mkdir(parents=True)
    path.write_text(
        'import torch, mmsemiseg.models\n'
        'from mmsemiseg.datasets import checks\n'
        'def f():\n'
        '    from ...models import adapter\n'
        '    from .step_hook import StepHook\n'
    )
    assert sorted(own_imports(path)) == [
        'datasets.checks',
        'engine.hooks.step_hook.StepHook',
        'models',
        'models.adapter',
    ]


def test_config_names_are_unique():
    # mim takes a config by its name; `config.py` is what the tools write on a run.
    paths = (ROOT / 'configs').rglob('*.py')
    configs = Counter(path.name for path in paths if '_base_' not in path.parts)
    bases = {path.name for path in (ROOT / 'configs' / '_base_').rglob('*.py')}
    assert configs
    assert [name for name, count in configs.items() if count > 1] == []
    assert not (bases | {'config.py', 'test_config.py'}) & set(configs)


def tracked_files():
    try:
        listed = subprocess.run(
            ['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('not a git clone')
    return [ROOT / name for name in listed.split('\0') if name]


def test_no_paths_of_one_machine():
    absolute = re.compile(r'(?<![\w.~$}/-])/(home|Users|root|work|mnt|data|scratch)/\w')
    found = []
    for path in tracked_files():
        if path == Path(__file__) or not path.is_file():
            continue
        text = path.read_bytes().decode('utf-8', errors='ignore')
        for number, line in enumerate(text.splitlines(), 1):
            if absolute.search(line):
                found.append(f'{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}')
    assert found == []
