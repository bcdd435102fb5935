"""Requirements, index and names: what packaging promises before an installation."""

import ast
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
IMPORT_NAMES = {
    'pillow': 'PIL',
    'scikit-learn': 'sklearn',
    'onedl-mmcv': 'mmcv',
    'onedl-mmengine': 'mmengine',
    'onedl-mmsegmentation': 'mmseg',
}
# Dependencies of mmcv, mmengine and mmsegmentation themselves
WITH_MM = {'cv2', 'matplotlib', 'prettytable'}
# Of ONNX files (extra export) and figures (extra viz), which say so
OF_EXTRAS = {'onnx', 'onnxruntime', 'sklearn'}


def names(requirements):
    """Distribution names in `requirements/<requirements>.txt`."""
    lines = (ROOT / 'requirements' / f'{requirements}.txt').read_text().splitlines()
    return {
        re.match(r'[\w-]+', line).group() for line in lines if re.match(r'[\w]', line)
    }


def imports_at_load(path):
    """Top-level names that a module imports outside functions, wherever it stands."""
    stack = [ast.parse(path.read_text(encoding='utf-8'))]
    while stack:
        for node in ast.iter_child_nodes(stack.pop()):
            if isinstance(node, ast.Import):
                yield from (alias.name.split('.')[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield node.module.split('.')[0]
            elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                stack.append(node)


def test_imports_of_the_package_are_declared():
    declared = {IMPORT_NAMES.get(name, name) for name in names('runtime') | names('mm')}
    allowed = declared | sys.stdlib_module_names | WITH_MM | {'mmsemiseg'}
    undeclared = {
        f'{path.relative_to(ROOT)}: {name}'
        for path in (ROOT / 'mmsemiseg').rglob('*.py')
        for name in imports_at_load(path)
        if name not in allowed
    }
    assert not undeclared


def test_make_env_installs_what_any_method_imports():
    script = (ROOT / '.ci' / 'setup_env.sh').read_text(encoding='utf-8')
    (installed,) = re.findall(
        r'^base\(\) {.*?^    install (.*?)$.*?^}', script, re.M | re.S
    )
    declared = {
        IMPORT_NAMES.get(name, name)
        for requirements in installed.split()
        for name in names(requirements)
    }
    nodes = [
        node
        for path in (ROOT / 'mmsemiseg').rglob('*.py')
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8')))
    ]
    imported = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names}
    imported |= {
        n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level
    }
    imported = {name.split('.')[0] for name in imported}
    assert 'kornia' in imported
    allowed = declared | sys.stdlib_module_names | WITH_MM | {'mmsemiseg'}
    assert imported - allowed == OF_EXTRAS


def test_tested_set_names_every_requirement():
    pinned = names('constraints')
    for requirements in (
        'runtime',
        'mm',
        'augment',
        'export',
        'pretrained',
        'rc2l',
        'viz',
        'tests',
        'docs',
    ):
        missing = names(requirements) - pinned
        assert not missing, f'{requirements}: {missing} without a version'


def test_openmmlab_packages_are_not_dependencies():
    assert not [name for name in names('runtime') if 'mm' in name or 'mim' in name]


def test_model_index_lists_every_metafile():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / 'configs').rglob('metafile.yml')
    ]
    assert sorted(index) == sorted(found)


def test_tools_do_not_hide_modules_of_python():
    # Their folder comes first in sys.path. `test` is the name that mim asks for.
    tools = {path.stem for path in (ROOT / 'tools').rglob('*.py')}
    assert tools & sys.stdlib_module_names <= {'test'}
