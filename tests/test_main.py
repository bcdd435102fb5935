"""`python -m mmsemiseg TOOL`."""

import runpy
import sys
from pathlib import Path

import pytest

from mmsemiseg import __main__ as tools

ROOT = Path(__file__).resolve().parents[1]


def test_every_tool_and_no_helper():
    found = tools.find_tools()
    assert {'train', 'test', 'check_data', 'make_split', 'compare_runs'} <= set(found)
    assert 'check_rows' not in found
    assert all(path.is_relative_to(ROOT / 'tools') for path in found.values())


def test_those_of_a_wheel_come_first(tmp_path, monkeypatch):
    monkeypatch.setattr(tools, 'PACKAGE', tmp_path / 'mmsemiseg')
    (tmp_path / 'tools').mkdir()
    (tmp_path / 'tools/other.py').write_text("if __name__ == '__main__': pass")
    assert tools.find_tools() == {}  # of another package
    folder = tmp_path / '_mmsemiseg/tools/sub'
    folder.mkdir(parents=True)
    (folder / 'mine.py').write_text("if __name__ == '__main__': print('ran')")
    assert tools.find_tools() == dict(mine=folder / 'mine.py')


def test_options_reach_the_tool(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'path', list(sys.path))
    monkeypatch.setattr(sys, 'argv', ['mmsemiseg'])
    with pytest.raises(SystemExit) as end:
        tools.main(['make_synthetic', '--help'])
    assert end.value.code == 0
    assert 'usage: make_synthetic.py' in capsys.readouterr().out


def test_without_a_tool_they_are_listed(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmsemiseg', '--help'])
    runpy.run_module('mmsemiseg', run_name='__main__')
    assert 'make_split' in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no tool 'no_such'"):
        tools.main(['no_such'])
