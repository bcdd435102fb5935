"""Pictures of entropy, dominant classes and parts."""

import cv2
import pytest
import torch
from esl_run import config, write_data
from tiny_run import build

from mmsemiseg.visualization.images import one_info
from mmsemiseg.visualization.networks import Source, load_network


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/soft_labels')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder with data/, config.py and last.pth of an untrained ESL with prototypes."""
    folder = tmp_path_factory.mktemp('run')
    cfg = config(write_data(folder / 'data'), folder / 'work')
    cfg.dump(folder / 'config.py')
    model = build(cfg).model
    vectors = model.prototypes.vectors
    model.prototypes.begin(torch.randn(60, vectors.shape[2]), torch.arange(60) % 3)
    torch.save(dict(state_dict=model.state_dict()), folder / 'last.pth')
    return folder


def test_pictures_and_table(tool, run, tmp_path, capsys):
    text = f'ESL={run / "config.py"}:{run / "last.pth"}'
    out = tmp_path / 'soft'
    arguments = ['--device', 'cpu', '--count', '2', '--height', '64', '--out', str(out)]
    assert tool.main([text, *arguments]) == 0
    pictures = sorted(out.glob('*.png'))
    assert len(pictures) == 2
    assert cv2.imread(str(pictures[0])).shape[0] > 64
    rows = [line for line in capsys.readouterr().out.splitlines() if '.png' in line]
    assert len(rows) == 2
    shares = [float(cell) for cell in rows[0].split('|')[3:-1]]
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_maps_are_those_of_the_teacher(tool, run):
    text = f'ESL={run / "config.py"}:{run / "last.pth"}'
    network = load_network(Source(text), 'cpu')
    image = str(run / 'data' / 'val' / 'images' / 'v0.png')
    view = tool.look(network, one_info(image, None, network.data))
    assert view.label.shape == view.entropy.shape == view.number.shape == (32, 32)
    assert 0 <= view.entropy.min() <= view.entropy.max() <= 1.001
    assert set(view.number.ravel()) <= {1, 2, 3}
    assert set(view.part.ravel()) <= {0, 1}


def test_other_checkpoints_are_refused(tool, run):
    text = f'ESL={run / "config.py"}:{run / "last.pth"}'
    with pytest.raises(ValueError, match='one checkpoint of ESL'):
        tool.main([text, text.replace('ESL=', 'Other='), '--device', 'cpu'])
