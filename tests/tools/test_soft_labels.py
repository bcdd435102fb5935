"""Pictures of entropy, dominant classes and parts."""

import cv2
import numpy as np
import pytest
import torch
from esl_run import config, write_data
from tiny_run import build

from mmsemiseg.visualization.data_sets import dataset_infos, evaluation_sets
from mmsemiseg.visualization.images import draw, one_info, read_image
from mmsemiseg.visualization.networks import Source, load_network
from mmsemiseg.visualization.part_pairs import (
    GREEN,
    YELLOW,
    Pair,
    PartImage,
    draw_pairs,
    paint_pairs,
    see_parts,
    similarities,
)


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


def network_of(run):
    return load_network(Source(f'ESL={run / "config.py"}:{run / "last.pth"}'), 'cpu')


def test_parts_of_an_image_and_their_means(run):
    network = network_of(run)
    path = str(run / 'data' / 'val' / 'images' / 'v0.png')
    image = see_parts(network, one_info(path, None, network.data))
    known = sorted(image.part[image.part >= 0].unique().tolist())
    assert sorted(image.means) == sorted(image.places) == known
    for part, place in image.places.items():
        assert image.part[place] == part
        assert image.means[part].norm().item() == pytest.approx(1, abs=1e-5)
    assert image.anchors.shape[:2] == image.part.shape
    assert (image.part[image.sure] >= 0).all()
    assert image.shown == (1, 1)


def part_image(parts, sure=True):
    """An image of one row of cells; embeddings and means are axes."""
    part = torch.tensor([parts])
    known = {k: torch.eye(6)[k] for k in parts if k >= 0}
    places = {k: (0, parts.index(k)) for k in known}
    anchors = torch.eye(6)[part.clamp(min=0)]
    return PartImage(part, (part >= 0) & sure, anchors, known, places, (1, 1))


def test_pairs_are_drawn_as_in_training():
    images = [part_image([0, 1, -1]), part_image([0, 2]), part_image([1, 3, 0])]
    for seed in range(8):
        rng = np.random.default_rng(seed)
        pairs = draw_pairs(images, 0, 5, 2, rng)
        assert sorted(pair.place for pair in pairs) == [(0, 0), (0, 1)]
        for pair in pairs:
            assert pair.part == images[0].part[pair.place]
            assert pair.positive[0] != 0 and pair.positive[1] == pair.part
            assert len(set(pair.negatives)) == 2
            assert all(i != 0 and k != pair.part for i, k in pair.negatives)
            assert similarities(images, 0, pair) == [1, 0, 0]
    assert len(draw_pairs(images, 0, 1, 2, rng)) == 1
    assert [pair.part for pair in draw_pairs(images[:2], 0, 5, 2, rng)] == [0]
    assert draw_pairs([part_image([0], False), images[1]], 0, 5, 2, rng) == []
    assert draw_pairs(images[:1], 0, 5, 2, rng) == []


def test_arrows_go_to_the_parts():
    images = [part_image([0, 2]), part_image([0, 1])]
    pictures = [np.zeros((20, 40, 3), np.uint8)] * 2
    pair = Pair((0, 0), 0, (1, 0), [(1, 1)])
    row = paint_pairs(pictures, images, 0, [pair])
    assert row.shape == (20, 80, 3)
    assert row[10, 10].tolist() == list(YELLOW)
    assert row[10, 30].tolist() == list(GREEN)
    assert row[10, 60, 2] > 150 and row[10, 60, 1] < 50
    assert not row[2].any()


def test_pairs_as_pictures(tool, run, tmp_path, capsys):
    text = f'ESL={run / "config.py"}:{run / "last.pth"}'
    out = tmp_path / 'pairs'
    cfg = (run / 'config.py').read_text() + "\nmodel['contrast']['threshold'] = 0.0\n"
    (tmp_path / 'low.py').write_text(cfg)
    text = f'ESL={tmp_path / "low.py"}:{run / "last.pth"}'
    words = ['--show', 'pairs', '--device', 'cpu', '--count', '3', '--height', '64']
    assert tool.main([text, *words, '--anchors', '2', '--out', str(out)]) == 0
    pictures = sorted(out.glob('*.png'))
    assert len(pictures) == 3
    assert cv2.imread(str(pictures[0])).shape[1] == 3 * 64
    rows = [line for line in capsys.readouterr().out.splitlines() if '.png' in line]
    assert 0 < len(rows) <= 6
    for row in rows:
        cosines = [float(cell) for cell in row.split('|')[4:-1]]
        assert all(-1 <= cosine <= 1 for cosine in cosines)


def test_shares_of_the_classes(tool, run, tmp_path, capsys):
    text = f'ESL={run / "config.py"}:{run / "last.pth"}'
    words = ['--show', 'shares', '--device', 'cpu', '--count', '2']
    assert tool.main([text, *words, '--out', str(tmp_path)]) == 0
    assert (tmp_path / 'shares.png').stat().st_size > 1000
    lines = capsys.readouterr().out.splitlines()
    head, *rows = [line.split('|')[1:-1] for line in lines if line.startswith('| ')]
    assert [cell.strip() for cell in head] == ['class', 'truth %', 'hard %', 'soft %']
    values = np.array([[float(cell) for cell in row[1:]] for row in rows[1:4]])
    assert values.sum(0) == pytest.approx([100] * 3, abs=0.05)
    network = network_of(run)
    infos = dataset_infos(evaluation_sets(network.cfg))
    drawn = draw(infos, 2, 0)
    found = [tool.look(network, info) for info in drawn]
    hard = np.mean([[(v.label == c).mean() for c in range(3)] for v in found], 0)
    soft = np.mean([v.soft for v in found], 0)
    truth = np.concatenate([read_image(network, info)[1] for info in drawn])
    truth = np.array([(truth == c).sum() for c in range(3)]) / (truth < 3).sum()
    expected = 100 * np.stack([truth, hard, soft], 1)
    assert values == pytest.approx(expected, abs=0.006)
    assert not np.allclose(hard, soft)


def test_balance(tool):
    assert tool.balance(np.array([0.25] * 4)) == pytest.approx(1)
    assert tool.balance(np.array([1.0, 0, 0])) == 0
