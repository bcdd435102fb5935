"""Formulas of docstrings as MathML, which browsers show without any script."""

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
SIZE = re.compile(r'\\[Bb]ig+(?![A-Za-z])')  # not known to docutils


def mathml(node, as_block):
    try:
        return tex2mathml(SIZE.sub('', node.astext()), as_block=as_block)
    except MathError as error:
        LOGGER.warning('no MathML of %r: %s', node.astext(), error, location=node)
        return ''


def inline(translator, node):
    translator.body.append(mathml(node, as_block=False))
    raise nodes.SkipNode


def block(translator, node):
    translator.body.append(f'<div class="math">{mathml(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer('mathml', (inline, None), (block, None))
    return dict(parallel_read_safe=True)
