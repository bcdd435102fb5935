"""Attribution of a pixel's class score to its own segment and the context."""

import cv2
import numpy as np
import pytest
import torch
from helpers import spread
from mmengine.dataset import Compose
from mmseg.registry import TRANSFORMS
from PIL import Image
from tiny_run import build, config, tiny_student, write_data

POINT = (9, 20)  # row, column


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/pixel_context')


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder with data/, a mean teacher and a plain segmentor of its student."""
    folder = tmp_path_factory.mktemp('run')
    data = write_data(folder / 'data', size=(24, 40))
    cfg = config(data, folder / 'work')
    cfg.dump(folder / 'config.py')
    model = build(cfg).model
    for number, network in enumerate(model.networks.values()):
        spread(network, number)
    torch.save(dict(state_dict=model.state_dict()), folder / 'last.pth')
    plain = config(data, folder / 'plain', tiny_student())
    plain.dump(folder / 'plain.py')
    torch.save(dict(state_dict=model.student.state_dict()), folder / 'plain.pth')
    return folder


def name(run, network='student'):
    return f'MT={run / "config.py"}:{run / "last.pth"}:{network}'


def image_of(run):
    return str(run / 'data' / 'val' / 'images' / 'v0.png')


def loaded(tool, run, text=None):
    """The network, and the info of the image; needs the path that ``tool`` has set."""
    from mmsemiseg.visualization.images import one_info
    from mmsemiseg.visualization.networks import Source, load_network

    network = load_network(Source(text or name(run)), 'cpu')
    return network, one_info(image_of(run), None, network.data)


def around(tool, run, text=None, **settings):
    network, info = loaded(tool, run, text)
    return tool.look_around(network, info, POINT, **settings), network, info


def test_table_and_picture(tool, run, tmp_path, capsys):
    out = tmp_path / 'a' / 'context.png'
    plain = f'Plain={run / "plain.py"}:{run / "plain.pth"}'
    mask = str(run / 'data' / 'val' / 'masks' / 'v0.png')
    arguments = [name(run), plain, '--image', image_of(run), '--mask', mask]
    options = ['--point', '20,9', '3,3', '--kind', 'elementwise', '--height', '48']
    device = ['--device', 'cpu', '--out', str(out)]
    assert tool.main([*arguments, *options, *device]) == 0
    lines = [line.split('|') for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line[1:-1]] for line in lines[2:6]]
    assert [row[:2] for row in rows] == [
        ['MT', '20,9'],
        ['Plain', '20,9'],
        ['MT', '3,3'],
        ['Plain', '3,3'],
    ]
    assert rows[0][2:] == rows[1][2:] and rows[2][2:] == rows[3][2:] != rows[0][2:]
    truth = np.array(Image.open(mask))
    context = around(tool, run, kind='elementwise')[0]
    for cells, label in ((rows[0][3:5], context.label), (rows[0][5:7], truth)):
        segment = tool.segment_of(label, POINT)
        inside = context.heat[segment].sum() / context.heat.sum()
        assert cells == [f'{100 * inside:.1f}', f'{100 * segment.mean():.1f}']
    assert cv2.imread(str(out)).shape == (2 * (24 + 48), 3 * 80, 3)


def test_labels_are_those_of_the_prediction(tool, run):
    for which in ('student', 'teacher'):
        context, network, info = around(tool, run, name(run, which))
        assert (context.label == network.predict(info)).all()
        assert context.index == context.label[POINT]
        assert context.heat.shape == (24, 40) and context.heat.min() >= 0
    assert (context.heat != around(tool, run)[0].heat).any()


def test_resized_and_padded_input(tool, run):
    """The point is one of the image, wherever the network sees it."""
    network, info = loaded(tool, run)
    pipeline = network.data.pipeline.transforms
    resize = dict(type='Resize', scale=(60, 36), keep_ratio=True)
    steps = [pipeline[0], TRANSFORMS.build(resize), *pipeline[1:]]
    network.data.pipeline = Compose(steps)
    network.model.data_preprocessor.test_cfg = dict(size_divisor=32)
    seen = []
    network.segmentor.backbone.register_forward_pre_hook(
        lambda module, args: seen.append(tuple(args[0].shape[2:]))
    )
    context = tool.look_around(network, info, POINT)
    assert seen == [(64, 64)]
    assert (context.label == network.predict(info)).all()


def test_heat_of_a_linear_score_by_hand(tool):
    features = torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]]])  # (2, 1, 2)
    gradient = torch.tensor([[[2.0, 0.0]], [[-1.0, 1.0]]])
    by_place = tool.heat_map(features, gradient, 'elementwise')
    assert by_place.tolist() == [[0.0, 0.0]]  # 2 - 3 and 0 - 1
    mean = tool.heat_map(features, gradient, 'gradcam')  # weights 1 and 0
    assert mean.tolist() == [[1.0, 2.0]]


def test_elementwise_heat_lies_where_the_score_can_see(tool, run):
    """Before the classifier the cells around the pixel alone have gradients."""
    context, *_ = around(tool, run, feature='pre_cls', kind='elementwise')
    rows, columns = context.heat.nonzero()
    assert abs(rows - POINT[0]).max() <= 12 and abs(columns - POINT[1]).max() <= 12
    everywhere, *_ = around(tool, run, feature='pre_cls', kind='gradcam')
    assert (everywhere.heat > 0).sum() > len(rows)


def test_another_class(tool, run):
    found = {around(tool, run, class_name=c)[0].index for c in 'abc'}
    assert found == {0, 1, 2}
    with pytest.raises(ValueError, match="--class must be in .*, but got 'd'"):
        around(tool, run, class_name='d')


def test_segment_is_connected(tool):
    label = np.array([[1, 1, 0, 1], [0, 0, 0, 1], [1, 0, 0, 0]])
    assert tool.segment_of(label, (0, 0)).sum() == 2
    assert tool.segment_of(label, (1, 3)).sum() == 2
    assert tool.segment_of(label, (1, 0)).sum() == 7


def test_share(tool):
    heat = np.array([[3.0, 1.0]])
    assert tool.share(heat, np.array([[True, False]])) == 0.75
    assert tool.share(heat, heat > 0) == 1
    assert np.isnan(tool.share(0 * heat, heat > 0))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--point', '40,0'], 'outside of the image, 40 x 24 pixels'),
        (['--point', '1.5,0'], "X,Y in whole pixels, but got '1.5,0'"),
        (['--point', '1,1', '--feature', 'stage7'], 'must be a map of extract_feat'),
        (['--point', '1,1', '--mask', 'none.png'], 'no file none.png'),
    ],
)
def test_what_is_wrong(tool, run, options, message):
    arguments = [name(run), '--image', image_of(run), '--device', 'cpu']
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool.main([*arguments, *options])


def test_a_mean_has_no_features(tool, run):
    arguments = [name(run, 'mean'), '--image', image_of(run), '--point', '1,1']
    with pytest.raises(ValueError, match="of .'student', 'teacher'., but got 'mean'"):
        tool.main([*arguments, '--device', 'cpu'])
