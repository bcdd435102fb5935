"""Settings of the site, which `make docs` builds with Sphinx into docs/_build/html.

Its sources are the files of the repository where they are: the root of the sources is
that of the repository, so a relative link is right on the site and on GitHub alike.
"""

import importlib.metadata
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE / '_ext'))

project = 'mmsemiseg'
author = 'mmsemiseg contributors'
release = importlib.metadata.version('mmsemiseg')

root_doc = 'docs/index'
source_suffix = {'.md': 'markdown', '.rst': 'restructuredtext'}
include_patterns = [
    'README.md',
    'CHANGELOG.md',
    'configs/*/README.md',
    'docs/*.md',
    'docs/methods/*.md',
    'docs/api/*.rst',
]
# What holds no page is not even walked through: environments, data, runs
with_pages = {pattern.split('/')[0] for pattern in include_patterns}
exclude_patterns = [p.name for p in ROOT.iterdir() if p.name not in with_pages]
exclude_patterns += ['docs/_*', 'docs/images']

extensions = [
    'myst_parser',
    'sphinx.ext.autodoc',
    'sphinx.ext.napoleon',
    'sphinx.ext.viewcode',
    'index_toctrees',
    'api_pages',
    'mathml',
    'repository_files',
]
myst_heading_anchors = 4
autodoc_inherit_docstrings = False
autodoc_member_order = 'bysource'
autodoc_typehints = 'description'
autodoc_typehints_description_target = 'documented'
autodoc_typehints_format = 'short'
napoleon_use_ivar = True
python_use_unqualified_type_names = True
add_module_names = False
default_role = 'code'

html_theme = 'furo'
html_title = f'mmsemiseg {release}'
html_theme_options = {'top_of_page_buttons': []}
html_math_renderer = 'mathml'
html_static_path = ['_static']
html_css_files = ['site.css']
html_search_scorer = str(HERE / '_static' / 'search_scorer.js')
templates_path = ['_templates']
html_additional_pages = {'index': 'to_first_page.html'}
html_copy_source = False  # a test reads every *.md below docs
html_show_sphinx = False
