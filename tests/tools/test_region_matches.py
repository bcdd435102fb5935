"""Pictures of the teacher's segments and the student's queries."""

import cv2
import numpy as np
import pytest
import torch
from op_heads import needs_ops
from rc2l_run import SIZE, config, write_data
from tiny_run import build
from torch.testing import assert_close

from mmsemiseg.visualization.images import one_info
from mmsemiseg.visualization.networks import Source, load_network

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


@pytest.fixture
def network(run):
    """The same with a student that is not its teacher."""
    text = f'RC2L={run / "config.py"}:{run / "last.pth"}'
    network = load_network(Source(text), 'cpu')
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.model.student.decode_head.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return network


@pytest.fixture
def info(run, network):
    image = str(run / 'data' / 'val' / 'images' / 'v0.png')
    return one_info(image, None, network.data)


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


def test_matches_are_those_of_the_method(tool, network, info):
    teacher, student, matches = tool.find_matches(network, info)
    assert (student == network.predict(info)).mean() > 0.9
    assert len(matches) > 0
    for match in matches:
        assert match.segment.shape == teacher.shape
        for query in (match.teacher, match.student):
            assert query.mask.shape == teacher.shape
            assert 0 <= query.dice <= 1
            both = 2 * query.mask[match.segment].sum()
            dice = both / (query.mask.sum() + match.segment.sum())
            assert_close(query.dice, float(dice), rtol=0, atol=0.1)  # enlarged masks
    for name in ('teacher', 'student'):
        numbers = [getattr(match, name).number for match in matches]
        assert len(set(numbers)) == len(numbers)


def test_masks_are_those_of_each_network(tool, network, info):
    """With the teacher's weights in the student both are the same."""
    *_, matches = tool.find_matches(network, info)
    assert any(m.teacher.dice != m.student.dice for m in matches)
    network.model.student.load_state_dict(network.model.teacher.state_dict())
    *_, matches = tool.find_matches(network, info)
    for match in matches:
        assert match.teacher[:2] == match.student[:2]
        assert_close(match.teacher.dice, match.student.dice)
        np.testing.assert_allclose(match.teacher.mask, match.student.mask, atol=1e-5)


def test_padding_is_in_no_segment(tool, network, info, monkeypatch):
    network.model.data_preprocessor.test_cfg = dict(size=(128, 128))
    cut, seen = network.model.segments.cut, []

    def watched(found):
        seen.append(cut(found))
        return seen[0]

    monkeypatch.setattr(network.model.segments, 'cut', watched)
    tool.find_matches(network, info)
    ((segments, counts),) = seen
    height, width = (size // 4 for size in SIZE)
    assert counts[0, :height, :width].all()
    assert counts.sum() == height * width
    assert not (segments.masks & ~counts[:, None]).any()


def test_an_image_without_segments(tool, network, info):
    network.model.segments.min_area = 100_000
    *labels, matches = tool.find_matches(network, info)
    assert matches == []
    image = np.zeros((*labels[0].shape, 3), np.uint8)
    assert tool.picture_of(image, labels, matches, network, 64).shape[0] > 128


def test_other_methods_are_refused(tool, run):
    text = f'RC2L={run / "config.py"}:{run / "last.pth"}'
    with pytest.raises(ValueError, match='one checkpoint of RC2L'):
        tool.main([text, text.replace('RC2L=', 'Other='), '--device', 'cpu'])
