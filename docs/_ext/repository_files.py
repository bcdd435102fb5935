"""Links to files that are no pages, such as code and configs, open them as text.

Sphinx would offer them as downloads, and keep a second copy of each config by its name,
which mim then could not tell from the first.
"""

from pathlib import Path

from docutils import nodes
from sphinx.addnodes import download_reference


def link_as_text(app, doctree):
    docname = app.env.docname
    for node in list(doctree.findall(download_reference)):
        _, path = app.env.relfn2path(node['reftarget'], docname)
        path = Path(path).resolve().relative_to(Path(app.srcdir).resolve()).as_posix()
        uri = '../' * docname.count('/') + f'_files/{path}.txt'
        link = nodes.reference('', '', *node.children, refuri=uri, file=path)
        node.replace_self(link)


def copy_files(app, doctree, docname):
    for node in doctree.findall(nodes.reference):
        if 'file' in node:
            target = Path(app.outdir, '_files', f'{node["file"]}.txt')
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(app.srcdir, node['file']).read_bytes())


def setup(app):
    app.connect('doctree-read', link_as_text, priority=100)  # before downloads are kept
    app.connect('doctree-resolved', copy_files)
    return dict(parallel_read_safe=True, parallel_write_safe=True)
