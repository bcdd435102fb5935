"""The site: it builds without a warning, has a page for all, and asks for nothing."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mmseg.registry import HOOKS, MODELS

import mmsemiseg
from mmsemiseg import functional
from mmsemiseg.engine import runner
from mmsemiseg.models import (
    contrast,
    heads,
    losses,
    memories,
    segmentors,
    teaching,
)
from mmsemiseg.models.contrast import part_contrast, peer_banks
from mmsemiseg.models.pseudo_segments import PseudoSegments
from mmsemiseg.models.segment_map import SegmentMap

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / 'docs'
METHODS = sorted((DOCS / 'methods').glob('*.md'))
HOMES = (
    functional,
    runner,
    segmentors,
    contrast,
    losses,
    heads,
    memories,
    part_contrast,
    peer_banks,
    teaching,
    mmsemiseg.models,
    mmsemiseg.datasets.transforms,
    mmsemiseg.engine.hooks,
)


def named(code):
    """The class or function that a page names, as `OverlapContrast.draw`."""
    for kind in (PseudoSegments, SegmentMap):
        if code.startswith(f'{kind.__name__}.'):
            return getattr(kind, code.partition('.')[2])
    first, *rest = code.removeprefix('functional.').split('.')
    found = [getattr(home, first) for home in HOMES if hasattr(home, first)]
    found += [kinds.get(first) for kinds in (MODELS, HOOKS)]
    value = next((one for one in found if one is not None), None)
    for name in rest:
        value = getattr(value, name, None)
    return value


def algorithm(path):
    """Rows of the table below the heading Algorithm: lists of cells."""
    text = path.read_text(encoding='utf-8')
    (part,) = re.findall(r'^## Algorithm\n(.*?)^## ', text, re.MULTILINE | re.DOTALL)
    lines = [line for line in part.splitlines() if line.startswith('|')]
    head, _, *rows = [[cell.strip() for cell in x[1:-1].split('|')] for x in lines]
    assert all(len(row) == len(head) for row in rows)
    return [dict(zip(head, row, strict=True)) for row in rows]


def codes(cell):
    return re.findall(r'`([^`]+)`', cell)


def test_every_method_has_a_page():
    kinds = [getattr(segmentors, name) for name in segmentors.__all__]
    methods = [
        kind
        for kind in kinds
        if issubclass(kind, segmentors.SemiSegmentor) and not inspect.isabstract(kind)
    ]
    needed = {kind.__module__.rpartition('.')[2] for kind in methods}
    needed.add(runner.SelfTrainingRunner.__module__.rpartition('.')[2])
    assert len(needed) >= 11
    assert needed == {path.stem for path in METHODS}


def test_every_page_is_in_the_index():
    text = (DOCS / 'index.md').read_text(encoding='utf-8')
    linked = {
        (DOCS / link).resolve()
        for link in re.findall(r'^- \[.+?\]\((\S+?\.md)\)', text, re.MULTILINE)
    }
    pages = {*DOCS.glob('*.md'), *METHODS, *(ROOT / 'configs').glob('*/README.md')}
    assert linked == {*pages, ROOT / 'README.md', ROOT / 'CHANGELOG.md'} - {
        DOCS / 'index.md'
    }


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_algorithm_names_what_there_is(path):
    rows = algorithm(path)
    assert len(rows) >= 3
    names = [code for row in rows for code in codes(row['Code'])]
    assert names
    assert [name for name in names if named(name) is None] == []


@pytest.mark.parametrize('path', METHODS, ids=lambda path: path.stem)
def test_algorithm_names_settings(path):
    rows = algorithm(path)
    parts = [named(code.split('.')[0]) for row in rows for code in codes(row['Code'])]
    kinds = {base for kind in parts if inspect.isclass(kind) for base in kind.__mro__}
    known = {
        name
        for kind in kinds
        if kind.__module__.startswith('mmsemiseg')
        for name in inspect.signature(kind.__init__).parameters
    }
    if 'SelfTrainingRunner' in {getattr(kind, '__name__', '') for kind in parts}:
        from mmsemiseg.engine.runner.self_training import SETTINGS

        known |= set(SETTINGS)
    given = [code for row in rows for code in codes(row.get('Settings', ''))]
    assert [name for name in given if name not in known] == []


def test_api_lists_the_packages_with_public_names():
    text = (DOCS / 'api.md').read_text(encoding='utf-8')
    listed = re.findall(r'^\| `(mmsemiseg[\w.]*)` \|', text, re.MULTILINE)
    public = {
        '.'.join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / 'mmsemiseg').rglob('__init__.py')
        if '__all__' in path.read_text(encoding='utf-8')
    }
    assert set(listed) == public - {'mmsemiseg'}


def test_the_guides_that_the_search_puts_first():
    text = (DOCS / '_static' / 'search_scorer.js').read_text(encoding='utf-8')
    named = re.findall(r'"docs/(\w+)"', text)
    for group in re.findall(r'/\^docs\\/\((.+?)\)\$/', text):
        named += [name for name in group.split('|') if name.isidentifier()]
    assert {'faq', 'get_started', 'architecture'} <= set(named)
    assert [name for name in named if not (DOCS / f'{name}.md').is_file()] == []


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """The built pages."""
    pytest.importorskip('furo')
    pytest.importorskip('myst_parser')
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'sphinx', '-q', '-W', '--keep-going']
    command += ['-c', str(DOCS), '-d', str(folder / 'doctrees'), str(ROOT)]
    done = subprocess.run(
        [*command, str(folder / 'html')], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return folder / 'html'


@pytest.mark.slow
def test_pages(site):
    assert 'docs/index.html' in (site / 'index.html').read_text(encoding='utf-8')
    for path in METHODS:
        assert (site / 'docs' / 'methods' / f'{path.stem}.html').is_file()
    api = site / 'docs' / 'api' / 'mmsemiseg.models.segmentors.html'
    text = api.read_text(encoding='utf-8')
    for name in segmentors.__all__:
        assert f'id="mmsemiseg.models.segmentors.{name}"' in text
    assert '{toctree}' not in (site / 'docs' / 'index.html').read_text(encoding='utf-8')
    functions = site / 'docs' / 'api' / 'mmsemiseg.functional.html'
    assert '<math' in functions.read_text(encoding='utf-8')


@pytest.mark.slow
def test_links_inside_resolve(site):
    pages = {path: path.read_text(encoding='utf-8') for path in site.rglob('*.html')}
    ids = {
        path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()
    }
    broken = []
    for path, text in pages.items():
        for link in set(
            re.findall(r'<(?:a|img|link)\b[^>]*?(?:href|src)="(.*?)"', text)
        ):
            name, _, anchor = link.partition('#')
            if re.match(r'\w+:', link):
                continue
            target = (path.parent / name.partition('?')[0]).resolve() if name else path
            if not target.exists() or anchor and anchor not in ids.get(target, ()):
                broken.append(f'{path.relative_to(site)}: {link}')
    assert broken == []


@pytest.mark.slow
def test_the_search_has_an_order_of_its_own(site):
    script = (site / '_static' / 'language_data.js').read_text(encoding='utf-8')
    assert (DOCS / '_static' / 'search_scorer.js').read_text(encoding='utf-8') in script


@pytest.mark.slow
def test_pages_ask_no_other_machine(site):
    asks = re.compile(r'<(?:script|img|link|iframe)\b[^>]*(?:src|href)="(?:https?:)?//')
    found = [
        path.name for path in site.rglob('*.html') if asks.search(path.read_text())
    ]
    sheets = [path for path in site.rglob('*.css') if 'url(http' in path.read_text()]
    assert found == []
    assert sheets == []


@pytest.mark.slow
def test_no_config_is_there_twice(site):
    assert list(site.rglob('*.py')) == []
