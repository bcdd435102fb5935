"""Features of the overlap of two crops, and their common layout."""

import sys

import numpy as np
import pytest
import torch
from helpers import spread
from PIL import Image
from tiny_run import build, config, tiny_student, write_data

CROP = 32


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/embed_overlap')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder with data/, a CAC and a plain segmentor of its student."""
    folder = tmp_path_factory.mktemp('run')
    data = write_data(folder / 'data', size=(48, 56))
    student = tiny_student()
    cfg = config(data, folder / 'work', dict(type='CAC', student=student))
    cfg.dump(folder / 'config.py')
    model = build(cfg).model
    spread(model.student)
    torch.save(dict(state_dict=model.state_dict()), folder / 'last.pth')
    config(data, folder / 'plain', tiny_student()).dump(folder / 'plain.py')
    torch.save(dict(state_dict=model.student.state_dict()), folder / 'plain.pth')
    return folder


def arguments(run, *more, plain=False):
    network = f'CAC={run / "config.py"}:{run / "last.pth"}'
    if plain:
        network = f'Plain={run / "plain.py"}:{run / "plain.pth"}'
    image = ['--image', str(run / 'data' / 'val' / 'images' / 'v1.png')]
    size = ['--crop-size', str(CROP), str(CROP), '--stride', '4', '--device', 'cpu']
    return [network, *image, *size, *more]


def mask_of(run):
    return str(run / 'data' / 'val' / 'masks' / 'v1.png')


def prepared(tool, run, *more):
    """(inputs, network)"""
    from mmsemiseg.visualization.networks import load_networks

    args = tool.parse_args(arguments(run, *more))
    (network,) = load_networks(args.networks, args.device)
    return tool.make_inputs(args, network), network


def test_picture_and_table(tool, run, tmp_path, capsys):
    plain = arguments(run, plain=True)[0]
    out = tmp_path / 'a' / 'overlap.png'
    options = ['--mask', mask_of(run), '--points', '12', '--perplexity', '4']
    words = arguments(run, *options, '--out', str(out))
    assert tool.main([plain, *words]) == 0
    lines = [line.split('|') for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line[1:-1]] for line in lines[2:4]]
    assert [row[0] for row in rows] == ['Plain', 'CAC']
    assert rows[0][1:] == rows[1][1:]
    assert int(rows[0][1]) > 12 and all(0 < float(x) <= 1 for x in rows[0][2:])
    width, height = Image.open(out).size
    assert width == height == round(3 * 2.6 * 120)


def test_the_boxes_show_the_same_pixels(tool, run):
    inputs, _ = prepared(tool, run, '--seed', '3')
    parts = []
    for item, (top, left, height, width) in zip(
        inputs.items, inputs.boxes, strict=True
    ):
        parts.append(item['inputs'][:, top : top + height, left : left + width])
    assert parts[0].equal(parts[1]) and not parts[0].equal(parts[2])
    assert inputs.boxes[0] == inputs.boxes[2]
    area = parts[0][0].numel()
    assert 0.1 <= area / (2 * CROP**2 - area) <= 0.4


def test_places_are_those_of_the_overlap_and_have_its_labels(tool, run):
    inputs, network = prepared(tool, run, '--mask', mask_of(run))
    points = tool.overlap_points(network, inputs, 'pre_cls', False, 4)
    top, left, height, width = inputs.boxes[0]
    places = height // 4 * (width // 4)
    assert [tuple(part.shape) for part in points.features] == [(places, 8)] * 3
    for part in points.features:
        assert part.norm(dim=1).allclose(torch.ones(places))
    box = inputs.truth[top : top + height, left : left + width]
    cells = box.view(height // 4, 4, width // 4, 4).movedim(1, 2).reshape(-1, 16)
    for cell, label in zip(cells, points.label, strict=True):
        counts = torch.bincount(cell, minlength=3)
        assert counts[label] == counts.max()
    predicted = tool.overlap_points(
        network, inputs._replace(truth=None), 'pre_cls', False, 4
    )
    assert predicted.features[0].equal(points.features[0])
    assert not predicted.label.equal(points.label)


def test_features_of_the_same_place_are_paired(tool, run, monkeypatch):
    """With the image itself as features, I and II agree in the whole overlap."""
    inputs, network = prepared(tool, run, '--seed', '1')

    class Look:
        def __call__(self, segmentor, images):
            logits = torch.zeros(1, 3, 8, 8)
            return type('Output', (), dict(features=images, logits=logits))

    monkeypatch.setattr(type(network), 'adapter', lambda self, feature: Look())
    points = tool.overlap_points(network, inputs, 'pre_cls', False, 4)
    assert points.features[0].allclose(points.features[1])
    context, colours = tool.similarity(points)
    assert context == pytest.approx(1) and colours < 0.999


def test_embeddings_are_the_projector_s(tool, run):
    inputs, network = prepared(tool, run)
    points = tool.overlap_points(network, inputs, 'pre_cls', True, 4)
    assert points.features[0].shape[1] == 128
    expected = []
    network.model.contrast.projector.register_forward_hook(
        lambda module, args, output: expected.append(output)
    )
    tool.overlap_points(network, inputs, 'pre_cls', True, 4)
    cells = expected[2][0].flatten(1).T
    assert (torch.cdist(points.features[2], cells).min(1).values < 1e-3).all()
    with pytest.raises(ValueError, match='Plain is a EncoderDecoder without a proj'):
        tool.main(arguments(run, '--embedding', plain=True))


def test_layout_is_common_and_repeatable(tool):
    generator = torch.Generator().manual_seed(0)
    one = torch.nn.functional.normalize(torch.randn(20, 4, generator=generator), dim=1)
    points = tool.Points([one, one.flip(1), one], torch.zeros(20))
    found = tool.lay_out_places(points, 5, 0)
    assert found.shape == (3, 20, 2) and np.isfinite(found).all()
    assert (tool.lay_out_places(points, 5, 0) == found).all()
    apart = np.linalg.norm(found[0] - found[2], axis=1).mean()
    assert apart < np.linalg.norm(found[0] - found[1], axis=1).mean()
    with pytest.raises(ValueError, match='below the number of points, 60, but got 60'):
        tool.lay_out_places(points, 60, 0)


def test_thinning_keeps_the_places_together(tool):
    rows = torch.arange(30.0)[:, None]
    points = tool.Points([rows, rows + 100, rows + 200], torch.arange(30))
    few = tool.thin_out(points, 7, 0)
    assert len(few.label) == len(few.label.unique()) == 7
    for part, start in zip(few.features, (0, 100, 200), strict=True):
        assert part[:, 0].equal(few.label + float(start))
    assert tool.thin_out(points, 99, 0).label.equal(points.label)
    with pytest.raises(ValueError, match='--points must be at least 2, but got 1'):
        tool.thin_out(points, 1, 0)


def test_without_scikit_learn(tool, run, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.manifold', None)
    with pytest.raises(ImportError, match=r'needs scikit-learn: pip install .*\[viz\]'):
        tool.main(arguments(run))


def test_no_second_crop(tool, run):
    with pytest.raises(ValueError, match='gave no second crop of .32, 32.'):
        tool.main(arguments(run, '--iou-range', '0.01', '0.02'))
    with pytest.raises(ValueError, match='multiples of stride=4, but got .30, 32.'):
        tool.main(arguments(run, '--crop-size', '30', '32'))
