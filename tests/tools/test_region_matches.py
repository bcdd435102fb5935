"""Pictures of the teacher's segments and the student's queries."""

import cv2
import pytest
import torch
from op_heads import needs_ops
from rc2l_run import config, write_data
from tiny_run import build
from torch.testing import assert_close

pytestmark = needs_ops


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/region_matches')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder with data/, config.py and last.pth of an untrained RC2L."""
    folder = tmp_path_factory.mktemp('run')
    cfg = config(write_data(folder / 'data'), folder / 'work')
    cfg.dump(folder / 'config.py')
    torch.save(dict(state_dict=build(cfg).model.state_dict()), folder / 'last.pth')
    return folder


def test_pictures_and_table(tool, run, tmp_path, capsys):
    text = f'RC2L={run / "config.py"}:{run / "last.pth"}'
    out = tmp_path / 'regions'
    arguments = ['--device', 'cpu', '--count', '2', '--height', '64', '--out', str(out)]
    assert tool.main([text, *arguments]) == 0
    pictures = sorted(out.glob('*.png'))
    assert len(pictures) == 2
    assert cv2.imread(str(pictures[0])).shape[0] > 64
    rows = [line for line in capsys.readouterr().out.splitlines() if '.png' in line]
    assert len(rows) >= 2


def test_matches_are_those_of_the_method(tool, run):
    from mmsemiseg.visualization.images import one_info
    from mmsemiseg.visualization.networks import Source, load_network

    text = f'RC2L={run / "config.py"}:{run / "last.pth"}'
    network = load_network(Source(text), 'cpu')
    image = str(run / 'data' / 'val' / 'images' / 'v0.png')
    info = one_info(image, None, network.data)
    teacher, student, matches = tool.find_matches(network, info)
    assert (student == network.predict(info)).mean() > 0.9
    assert len(matches) > 0
    for match in matches:
        assert match.segment.shape == match.mask.shape == teacher.shape
        assert 0 <= match.dice <= 1
        both = 2 * match.mask[match.segment].sum()
        dice = both / (match.mask.sum() + match.segment.sum())
        assert_close(match.dice, float(dice), rtol=0, atol=0.1)  # enlarged masks


def test_other_methods_are_refused(tool, run):
    text = f'RC2L={run / "config.py"}:{run / "last.pth"}'
    with pytest.raises(ValueError, match='one checkpoint of RC2L'):
        tool.main([text, text.replace('RC2L=', 'Other='), '--device', 'cpu'])
