"""The lists of links in docs/index.md become the sidebar of the site.

So GitHub shows a plain page, and no page has to be named twice.
"""

import re

ITEM = re.compile(r'^- \[(.+?)\]\((\S+?)\.md\)', re.MULTILINE)


def sections(text):
    """Title of each section, and (label, page) of the items of its list."""
    parts = re.split(r'^## (.+)$', text, flags=re.MULTILINE)[1:]
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        yield title, [(label.strip('`'), page) for label, page in ITEM.findall(body)]


def toctree(entries, caption=''):
    lines = ['```{toctree}', ':hidden:']
    lines += [f':caption: {caption}'] if caption else []
    lines += ['', *(f'{label} <{page}>' for label, page in entries), '```']
    return '\n' + '\n'.join(lines) + '\n'


def add_toctrees(app, docname, source):
    if docname == app.config.root_doc:
        source[0] += ''.join(
            toctree(entries, title) for title, entries in sections(source[0])
        )


def setup(app):
    app.connect('source-read', add_toctrees)
    return dict(parallel_read_safe=True)
