"""Run a tool of the installed package: `python -m mmsemiseg TOOL [arguments]`.

The same as `mim run mmsemiseg TOOL`, from a clone and from a wheel, but options such as
`--help` reach the tool, and an error is the tool's message alone.
"""

import runpy
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def find_tools() -> dict[str, Path]:
    """Name -> script; those in folders are known by their own name, too."""
    folders = (PACKAGE.parent / '_mmsemiseg/tools', PACKAGE / '.mim/tools')
    if (PACKAGE.parent / 'model-index.yml').is_file():  # a clone
        folders += (PACKAGE.parent / 'tools',)
    folder = next((folder for folder in folders if folder.is_dir()), None)
    scripts = sorted(folder.rglob('*.py')) if folder else []
    return {
        path.stem: path for path in scripts if "'__main__'" in path.read_text('utf-8')
    }


def main(argv: list[str]) -> None:
    tools = find_tools()
    if not argv or argv[0] not in tools:
        usage = f'usage: python -m mmsemiseg TOOL ...\nTOOL: {", ".join(tools)}'
        if not argv or argv[0] in ('-h', '--help'):
            print(usage)
            return
        sys.exit(f'error: there is no tool {argv[0]!r}\n{usage}')
    script = tools[argv[0]]
    sys.argv = [str(script), *argv[1:]]
    sys.path.insert(0, str(script.parent))  # as Python does for a script
    runpy.run_path(str(script), run_name='__main__')


if __name__ == '__main__':
    main(sys.argv[1:])
