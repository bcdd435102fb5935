"""Files of configs: what they inherit, names, and who lists them."""

import ast
import re

import pytest
import yaml
from config_files import PATHS, ROOT, stem_of
from mmengine.config import Config

from mmsemiseg.start.students import MASK_MODEL


def bases(path):
    """The files that a config inherits from."""
    text = re.sub(r'\{\{.*?\}\}', 'None', path.read_text(encoding='utf-8'))
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == '_base_':
            names = ast.literal_eval(node.value)
            names = [names] if isinstance(names, str) else names
            return [(path.parent / name).resolve() for name in names]
    return []


def levels(path):
    return 1 + max(map(levels, bases(path)), default=0)


@pytest.mark.parametrize('path', PATHS, ids=stem_of)
def test_a_config_is_made_of_atoms_in_three_levels(path):
    assert levels(path) <= 3
    assert [base for base in bases(path) if ROOT / '_base_' not in base.parents] == []


def test_every_atom_is_used():
    """But those that a user adds to choose how to test; `start` writes configs, too."""
    found, new = set(), {*PATHS, ROOT / '_base_' / MASK_MODEL}
    while new:
        found |= new
        new = {base for path in new for base in bases(path)} - found
    atoms = {path for path in ROOT.rglob('*.py') if '_base_' in path.parts}
    unused = {path for path in atoms - found if path.parent.name != 'evaluation'}
    assert unused == set()


def test_names_of_configs_are_unique():
    """Then mim finds a config by its name, whatever folder it is in."""
    assert len({path.stem for path in PATHS}) == len(PATHS)


METHODS = ('cac-', 'cac_', 'cmb-', 'cmb_', 'ctt-', 'ctt_', 'cps_', 'mean-teacher_')
METHODS += ('esl-', 'esl_')
METHODS += ('rc2l-', 'rc2l_', 'self-training_', 'sup-only')
METAFILES = sorted(ROOT.glob('*/metafile.yml'))


@pytest.mark.parametrize('metafile', METAFILES, ids=lambda p: p.parent.name)
def test_metafile_lists_every_config(metafile):
    folder = metafile.parent
    models = yaml.safe_load(metafile.read_text(encoding='utf-8'))['Models']
    assert [(m['Name'], m['Config']) for m in models] == [
        (path.stem, path.relative_to(ROOT.parent).as_posix())
        for path in sorted(folder.rglob('*.py'), key=lambda p: p.stem)
    ]


@pytest.mark.parametrize('method', ['cac', 'cmb', 'ctt', 'esl', 'rc2l'])
def test_readme_names_every_config(method):
    text = (ROOT / method / 'README.md').read_text(encoding='utf-8')
    stems = {path.stem for path in (ROOT / method).rglob('*.py')}
    found = set()
    for line in text.splitlines():
        names = re.findall(r'`([\w.<>-]+)`', line)
        for name in (name.removesuffix('.py') for name in names):
            if name.startswith(METHODS) and '<' not in name:
                found.add(name)
        # | `cac_..-<split>` | 1-8, full |, or the splits are the titles of the columns
        if line.startswith('| config, `<split>` of |'):
            splits = re.findall(r'[\w-]+', line.split('of |')[1])
        elif line.startswith('| config | `<split>` of |'):
            splits = None
        elif line.startswith('| `') and names and names[0].endswith('<split>'):
            own = splits or re.findall(r'[\w-]+', line.split('|')[2])
            found |= {names[0].replace('<split>', split) for split in own}
    assert found - stems == set()


@pytest.mark.parametrize('data', ['camvid-half', 'quickstart'])
def test_an_evaluation_base_fits_a_data_set(data, tmp_path):
    bases = [
        str(ROOT / '_base_' / f'{name}.py')
        for name in (f'datasets/{data}', 'evaluation/half')
    ]
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(
        f'_base_ = {bases}\n'
        'val_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))\n'
    )
    steps = [
        step.type for step in Config.fromfile(leaf).val_dataloader.dataset.pipeline
    ]
    assert steps == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackSegInputs']
