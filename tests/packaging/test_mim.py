"""mim finds tools and configs of a wheel and of an editable installation.

Both are installed into environments of their own, which see the packages of the running
one through a .pth file. That file only appends a path: the running environment's own
installation of mmsemiseg comes after the one under test.
"""

import os
import re
import shutil
import site
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'mean-teacher_cutmix_deeplabv3plus-r18_camvid-seq24.py'
SOURCES = (
    'CHANGELOG.md',
    'LICENSE',
    'MANIFEST.in',
    'README.md',
    'configs',
    'mmsemiseg',
    'model-index.yml',
    'pyproject.toml',
    'requirements',
    'setup.py',
    'tools',
)
SHORT = (
    '--cfg-options',
    'train_cfg.max_iters=2',
    'train_cfg.val_interval=2',
    'train_dataloader.labeled.batch_size=2',
    'train_dataloader.labeled.num_workers=0',
    'train_dataloader.unlabeled.batch_size=2',
    'train_dataloader.unlabeled.num_workers=0',
    'val_dataloader.num_workers=0',
    'val_dataloader.persistent_workers=False',
)


def run(*command, cwd, ok=True):
    """Output of a command; its exit status must be 0, or must not be where not `ok`."""
    env = dict(os.environ, OMP_NUM_THREADS='1', PIP_DISABLE_PIP_VERSION_CHECK='1')
    env.pop('PYTHONPATH', None)
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=150,
    )
    assert (done.returncode == 0) == ok, done.stdout[-4000:]
    return done.stdout


def copy_sources(target):
    """A copy of the project as a clone has it: without builds, runs and caches."""
    target.mkdir()
    skip = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=skip)
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, target / name)
    return target


class Environment:
    """A virtual environment at `folder`, with the running one's packages behind it."""

    def __init__(self, folder):
        venv.create(folder, with_pip=False)
        self.python = folder / 'bin' / 'python'
        self.packages = next(folder.glob('lib/python*/site-packages'))
        (self.packages / 'outer.pth').write_text('\n'.join(site.getsitepackages()))
        # The same as the script `mim`, so that no current folder gets into sys.path.
        self.mim_script = folder / 'bin' / 'mim'
        self.mim_script.write_text('from mim.cli import cli\ncli()\n')

    def install(self, *what, cwd):
        options = ('-q', '--no-deps', '--no-build-isolation', '--no-index')
        pip = (sys.executable, '-m', 'pip', '--python', self.python)
        run(*pip, 'install', *options, *what, cwd=cwd)

    def mim(self, *arguments, cwd, ok=True):
        return run(self.python, self.mim_script, *arguments, cwd=cwd, ok=ok)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    clone = copy_sources(tmp_path_factory.mktemp('wheel') / 'clone')
    options = ('-q', '--no-deps', '--no-build-isolation', '-w', 'dist')
    run(sys.executable, '-m', 'pip', 'wheel', *options, '.', cwd=clone)
    # A second copy of the configs would end mim's look-up by name.
    assert not (clone / 'build').exists()
    return next((clone / 'dist').glob('mmsemiseg-*.whl'))


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory):
    environment = Environment(tmp_path_factory.mktemp('installed') / 'env')
    environment.install(wheel, cwd=wheel.parent)
    return environment


def write_camvid(root):
    """Four training and two validation images with CamVid's folders and classes."""
    rng = np.random.default_rng(0)
    for subset, count in (('train', 4), ('val', 2)):
        for kind, high in (('images', 256), ('labels', 11)):
            folder = root / kind / subset
            folder.mkdir(parents=True)
            for index in range(count):
                shape = (36, 48, 3) if kind == 'images' else (36, 48)
                pixels = rng.integers(0, high, shape, dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'f{index}.png')
    split = root / 'splits' / 'seq-24'
    split.mkdir(parents=True)
    (split / 'labeled.txt').write_text('f0\nf1\n')


def test_wheel_content(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    record = next(name for name in names if name.endswith('/RECORD'))
    listed = zipfile.ZipFile(wheel).read(record).decode().splitlines()
    assert sorted(listed)[0].startswith('_mmsemiseg/')
    for folder in ('_mmsemiseg', 'mmsemiseg/.mim'):
        expected = {
            f'{folder}/{path.relative_to(ROOT)}'
            for top in ('configs', 'tools')
            for path in (ROOT / top).rglob('*.py')
            if '__pycache__' not in path.parts
        }
        assert expected | {f'{folder}/model-index.yml'} <= set(names)
    packages = {name.split('/')[0] for name in names if name.endswith('.py')}
    assert packages == {'_mmsemiseg', 'mmsemiseg'}
    assert not any(name.endswith('entry_points.txt') for name in names)
    requirements = [
        line
        for line in zipfile.ZipFile(wheel)
        .read(record.replace('RECORD', 'METADATA'))
        .decode()
        .splitlines()
        if line.startswith('Requires-Dist') and 'extra ==' not in line
    ]
    assert len(requirements) >= 3
    assert not [line for line in requirements if 'mm' in line.split()[1]]


def test_wheel_from_an_empty_folder(installed, tmp_path):
    train = ('train', 'mmsemiseg', '--gpus', '0')
    told = installed.mim(*train, CONFIG, cwd=tmp_path, ok=False)
    assert f'_mmsemiseg/configs/baselines/{CONFIG} instead' in told
    assert 'error: FileNotFoundError' in told and 'data/camvid' in told

    write_camvid(tmp_path / 'data' / 'camvid')
    told = installed.mim(*train, CONFIG, *SHORT, cwd=tmp_path)
    assert 'Training finished successfully' in told
    work_dir = tmp_path / 'work_dirs' / Path(CONFIG).stem
    checkpoint = work_dir / 'iter_2.pth'
    assert checkpoint.is_file() and (work_dir / 'config.py').is_file()
    assert not list(tmp_path.rglob(CONFIG))

    # Again by name, now that a run is there; by path; and by the config of the run.
    path = installed.packages / '_mmsemiseg' / 'configs' / 'baselines' / CONFIG
    test = ('--checkpoint', checkpoint, '--predict-with', 'student')
    for config in (CONFIG, work_dir / 'config.py'):
        told = installed.mim('test', 'mmsemiseg', config, *test, cwd=tmp_path)
        assert 'Testing finished successfully' in told and 'mIoU' in told
    run_tool = ('run', 'mmsemiseg', 'train', path, *SHORT)
    longer = ('train_cfg.max_iters=3', '--resume')
    told = installed.mim(*run_tool, *longer, cwd=tmp_path)
    assert 'The script finished successfully' in told
    assert (work_dir / 'iter_3.pth').is_file()


def test_help_of_a_tool_from_a_wheel(installed, tmp_path):
    """mim keeps `--help` for itself, and knows the packages of OpenMMLab alone."""
    told = installed.mim('run', 'mmsemiseg', 'make_split', '--', '--help', cwd=tmp_path)
    assert 'usage: make_split.py' in told and '--stratified' in told
    module = (installed.python, '-m', 'mmsemiseg')
    told = run(*module, 'make_split', '--help', cwd=tmp_path)
    assert told.startswith('usage: make_split.py')
    told = run(*module, 'train', 'no.py', cwd=tmp_path, ok=False)
    assert told.startswith('error: FileNotFoundError: config: there is no file no.py')
    assert 'Traceback' not in told


def test_print_config_by_name_from_a_wheel(installed, tmp_path):
    """Rows of an ablation are in a folder below the others."""
    row = 'ctt-dual_deeplabv2-r101-coco_cityscapes-1-8.py'
    words = ('print_config', row, 'model.teaching', '--sources')
    told = installed.mim('run', 'mmsemiseg', *words, cwd=tmp_path)
    line = f"model.teaching = 'dual'  # .*_mmsemiseg/configs/ctt/ablations/{row}:\\d+"
    assert re.search(line, told)
    told = run(installed.python, '-m', 'mmsemiseg', *words, cwd=tmp_path)
    assert re.search(line, told)


def test_editable_with_runs_and_environment_in_the_repository(tmp_path):
    clone = copy_sources(tmp_path / 'clone')
    environment = Environment(clone / '.venv')
    environment.install('-e', '.', cwd=clone)
    empty = tmp_path / 'empty'
    empty.mkdir()

    # No data: what is asked of mim is done when the data folder is found missing.
    train = ('train', 'mmsemiseg', '--gpus', '0')
    for cwd in (empty, clone):
        if cwd == clone:  # with a dumped config in the clone
            shutil.copytree(empty / 'work_dirs', clone / 'work_dirs')
        told = environment.mim(*train, CONFIG, cwd=cwd, ok=False)
        assert f'clone/configs/baselines/{CONFIG} instead' in told
        assert 'error: FileNotFoundError' in told and 'data/camvid' in told
        assert (cwd / 'work_dirs' / Path(CONFIG).stem / 'config.py').is_file()
    script = (environment.python, 'tools/train.py', f'configs/baselines/{CONFIG}')
    told = run(*script, cwd=clone, ok=False)
    assert 'error: FileNotFoundError' in told and 'Traceback' not in told
    told = environment.mim('run', 'mmsemiseg', 'train', 'no.py', cwd=clone, ok=False)
    assert 'error: FileNotFoundError: config: there is no file no.py' in told
