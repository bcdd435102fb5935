"""Packaging. The metadata is here, tool settings are in pyproject.toml.

`mim` looks for `tools/`, `configs/` and `model-index.yml` in an installed package.
Which folder it takes differs, so a wheel carries them twice:

- onedl-mim takes the folder of the first path in RECORD. RECORD is sorted, and
  `mmsemiseg-X.dist-info/` comes before `mmsemiseg/`; `_mmsemiseg/` comes before both.
- openmim 0.3.9 takes `mmsemiseg/.mim/`.

An editable installation has neither: there mim takes the repository itself. A console
script would come first in RECORD (`../../../bin/...`), hence there is none.
"""

import atexit
import os
import re
import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
MIM_TARGETS = ('_mmsemiseg', 'mmsemiseg/.mim')
MIM_CONTENT = ('configs', 'tools', 'model-index.yml')
MIM_SUFFIXES = ('.py', '.yml', '.md', '.sh')


def read_version():
    text = (ROOT / 'mmsemiseg' / 'version.py').read_text(encoding='utf-8')
    return re.search(r"__version__ = '(.+?)'", text).group(1)


def read_requirements(name):
    """Requirement lines of `requirements/<name>.txt`, `-r` lines followed."""
    lines = []
    for line in (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines():
        line = line.split('#')[0].strip()
        if line.startswith('-r '):
            lines += read_requirements(Path(line[3:].strip()).stem)
        elif line:
            lines.append(line)
    return lines


def mim_files():
    """The files of `MIM_CONTENT`, relative to the repository."""
    for name in MIM_CONTENT:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob('*')):
            if path.is_file() and path.suffix in MIM_SUFFIXES:
                yield path.relative_to(ROOT)


class BuildOutside(build):
    """Builds in a temporary folder.

    `build/lib` in the repository would hold every config a second time, and mim could
    no longer find a config by name in an editable installation.
    """

    def initialize_options(self):
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix='mmsemiseg-build-')
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


class BuildPyForMim(build_py):
    """Adds what mim looks for to a wheel."""

    def run(self):
        super().run()
        if not self.editable_mode:
            for source, target in self._mim_copies():
                self.mkpath(os.path.dirname(target))
                self.copy_file(source, target)

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        return outputs + [target for _, target in self._mim_copies()]

    def _mim_copies(self):
        return [
            (str(ROOT / path), os.path.join(self.build_lib, folder, str(path)))
            for folder in MIM_TARGETS
            for path in mim_files()
        ]


readme = ROOT / 'README.md'
setup(
    name='mmsemiseg',
    version=read_version(),
    description='Semi-supervised semantic segmentation for MMSegmentation',
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '',
    long_description_content_type='text/markdown',
    author='mmsemiseg contributors',
    license='Apache-2.0',
    keywords='semantic segmentation, semi-supervised learning, MMSegmentation',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Programming Language :: Python :: 3.10',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.12',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['mmsemiseg', 'mmsemiseg.*']),
    install_requires=read_requirements('runtime'),
    extras_require={
        name: read_requirements(name)
        for name in (
            'mm',
            'augment',
            'export',
            'pretrained',
            'rc2l',
            'viz',
            'tests',
            'docs',
        )
    },
    cmdclass={'build': BuildOutside, 'build_py': BuildPyForMim},
    zip_safe=False,
)
