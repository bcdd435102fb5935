"""Pictures of predictions, of a method and a plain segmentor."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers import spread
from PIL import Image
from tiny_run import build, config, sup_only, tiny_student, write_data

import mmsemiseg  # noqa: F401

CLASSES = ('a', 'b', 'c')


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/compare_predictions')


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """name -> 'config:checkpoint' of a mean teacher, a student alone, a plain one."""
    folder = tmp_path_factory.mktemp('runs')
    data = write_data(folder / 'data')
    found = {}
    models = dict(mt=None, sup=sup_only())
    for seed, (name, model) in enumerate(models.items()):
        cfg = config(data, folder / name, model)
        runner = build(cfg)
        for number, network in enumerate(runner.model.networks.values()):
            spread(network, 10 * seed + number)
        found[name] = save(folder / name, cfg, runner.model)
    plain = config(data, folder / 'plain', tiny_student())
    state = runner.model.student.state_dict()
    found['plain'] = save(folder / 'plain', plain, state)
    return found


def save(folder, cfg, model):
    folder.mkdir(exist_ok=True)
    cfg.dump(folder / 'config.py')
    state = model if isinstance(model, dict) else model.state_dict()
    meta = dict(iter=7)
    torch.save(dict(state_dict=state, meta=meta), folder / 'last.pth')
    return f'{folder / "config.py"}:{folder / "last.pth"}'


def scores(folder):
    with open(folder / 'miou.csv', encoding='utf-8') as file:
        head, *rows = csv.reader(file)
    return {
        name: [float(row[i]) for row in rows] for i, name in enumerate(head) if i > 0
    }


def test_a_picture_for_each_image_and_a_column_for_each_network(
    tool, runs, tmp_path, capsys
):
    networks = [
        f'Teacher={runs["mt"]}:teacher',
        f'Student={runs["mt"]}:student',
        f'SupOnly={runs["sup"]}',
        f'Plain={runs["plain"]}',
    ]
    out = ['--out', str(tmp_path), '--height', '64', '--device', 'cpu']
    assert tool.main([*networks, *out]) == 0
    pictures = sorted(tmp_path.glob('*.png'))
    assert [p.name for p in pictures] == ['00_v0.png', '01_v1.png', '02_v2.png']
    found = scores(tmp_path)
    assert list(found) == ['Teacher', 'Student', 'SupOnly', 'Plain']
    assert found['SupOnly'] == found['Plain'] != found['Student'] != found['Teacher']
    picture = cv2.imread(str(pictures[0]))
    assert picture.shape[1] == 6 * 64 and picture.shape[0] > 24 + 64 + 18
    columns = np.split(picture[24:88], 6, 1)
    assert (columns[4] == columns[5]).all()
    assert (columns[2] != columns[3]).any()
    image = np.array(Image.open(data_of(runs) / 'val' / 'images' / 'v0.png'))
    assert (columns[0] == np.kron(image[..., ::-1], np.ones((2, 2, 1)))).all()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '| mIoU of an image in % | Teacher | Student | SupOnly | Plain |'
    mean = np.mean(found['Teacher'])
    assert lines[5].startswith(f'| mean | {mean:.1f} | ')


def data_of(runs):
    return Path(runs['plain'].split(':')[0]).parents[1] / 'data'


def test_the_score_is_that_of_the_test_loop(tool, runs, tmp_path):
    """On a single image mmseg's metric and ours are the same."""
    from mmengine.config import Config

    path, checkpoint = runs['plain'].split(':')
    cfg = Config.fromfile(path)
    cfg.test_dataloader.dataset.indices = [1]
    cfg.load_from, cfg.work_dir = checkpoint, str(tmp_path / 'work')
    cfg.pop('runner_type')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'custom_hooks'):
        cfg.pop(key)
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg.pop(key)
    expected = build(cfg).test()['mIoU']
    tool.main([f'A={runs["plain"]}', '--out', str(tmp_path), '--device', 'cpu'])
    assert scores(tmp_path)['A'][1] == pytest.approx(float(expected), abs=0.005)


@pytest.fixture(scope='module')
def ctt(tmp_path_factory):
    """(config:checkpoint, the model) of two pairs of student and teacher."""
    folder = tmp_path_factory.mktemp('ctt')
    model = dict(type='CTT', student=tiny_student())
    cfg = config(write_data(folder / 'data'), folder / 'ctt', model)
    model = build(cfg).model
    for number, network in enumerate(model.networks.values()):
        spread(network, number)
    return save(folder / 'ctt', cfg, model), model.cpu().eval()


PAIRED = ['student0', 'student1', 'teacher0', 'teacher1']
MEANS = ['mean', 'mean_students', 'mean_teachers']


def test_networks_of_pairs_and_their_means(tool, ctt):
    from mmsemiseg.visualization.data_sets import dataset_infos
    from mmsemiseg.visualization.networks import Source, load_network

    text, model = ctt
    labels = []
    for name in [*PAIRED, *MEANS]:
        network = load_network(Source(f'A={text}:{name}'), 'cpu')
        info = dataset_infos([network.data])[0]
        labels.append(network.predict(info))
        data = network.prepare(network.load(info))
        expected = model.predict_as(name, **data)[0].pred_sem_seg.data[0]
        assert (labels[-1] == expected.numpy()).all()
    different = {label.tobytes() for label in labels}
    assert len(different) == len(labels)
    with pytest.raises(ValueError, match=r"'mean_teachers'\], but got 'student2'"):
        load_network(Source(f'A={text}:student2'), 'cpu')


def test_all_images_in_one_grid(tool, ctt, tmp_path):
    networks = [f'{name}={ctt[0]}:{name}' for name in ('student0', 'mean_teachers')]
    options = ['--out', str(tmp_path), '--height', '64', '--device', 'cpu', '--grid']
    tool.main([*networks, *options])
    grid = cv2.imread(str(tmp_path / 'grid.png'))
    step = 64 + tool.GAP
    assert grid.shape[1] == 4 * step
    for number in range(3):
        (path,) = tmp_path.glob(f'{number:02d}_*.png')
        row = grid[24 + step * number :][:step]
        assert (row[64:] == 255).all()
        alone = np.split(cv2.imread(str(path))[24:88], 4, 1)
        for column, expected in zip(np.split(row[:64], 4, 1), alone, strict=True):
            assert (column[:, :64] == expected).all() and (column[:, 64:] == 255).all()


def test_a_grid_of_images_of_several_sizes(tool, ctt):
    from mmsemiseg.visualization.networks import Source, load_network

    network = load_network(Source(f'A={ctt[0]}'), 'cpu')
    wide, tall = np.zeros((10, 20, 3), np.uint8), np.ones((20, 10, 3), np.uint8)
    label = np.zeros((2, 2), int)
    found = [
        tool.Comparison(dict(image=wide, A=wide), [label], dict(A=np.nan)),
        tool.Comparison(dict(image=tall, truth=tall, A=tall), [label], dict(A=50.0)),
    ]
    grid = tool.grid(found, network, 10)
    step = 20 + tool.GAP
    assert grid.shape[1] == 3 * step
    first, second = grid[24:34], grid[34 + tool.GAP :][:10]
    image, truth, prediction = (c[:, :20] for c in np.split(first, 3, 1))
    assert (image == 0).all() and (truth == 255).all() and (prediction == 0).all()
    for column in np.split(second, 3, 1):
        inside = (column == 1).all((0, 2))
        assert inside.tolist() == [7 <= x < 12 for x in range(step)]
        assert (column[:, ~inside] == 255).all()


def test_images_of_a_folder_drawn_by_the_seed(tool, runs, tmp_path):
    data = data_of(runs)
    arguments = [
        f'A={runs["mt"]}:mean',
        *('--images', str(data / 'val' / 'images'), '--count', '2'),
        *('--device', 'cpu'),
    ]
    names = set()
    for seed in range(6):
        out = tmp_path / str(seed)
        tool.main([*arguments, '--seed', str(seed), '--out', str(out)])
        assert all(np.isnan(scores(out)['A']))
        names.add(tuple(p.name for p in sorted(out.glob('*.png'))))
        assert cv2.imread(str(next(out.glob('*.png')))).shape[1] == 2 * 240
    assert len(names) > 1 and all(len(pair) == 2 for pair in names)
    masks = ['--masks', str(data / 'val' / 'masks'), '--out', str(tmp_path)]
    tool.main([*arguments, *masks])
    assert not np.isnan(scores(tmp_path)['A']).any()


def test_miou_of_an_image(tool):
    label = np.array([[0, 0, 1, 2]], np.uint8)
    truth = np.array([[0, 1, 1, 255]], np.uint8)
    assert tool.image_miou(label, truth, 4) == pytest.approx(50)
    assert np.isnan(tool.image_miou(label, np.full((1, 4), 255), 4))


def test_legend_names_the_classes_in_the_labels(tool):
    from mmsemiseg.visualization.pictures import legend

    palette = [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    label = np.array([[0, 2, 255]])
    wide = legend([label], list(CLASSES), palette, 200)
    colours = {tuple(pixel) for row in wide for pixel in row.tolist()}
    assert {(0, 0, 255), (255, 0, 0)} <= colours and (0, 255, 0) not in colours
    assert legend([label], list(CLASSES), palette, 50).shape[0] == wide.shape[0] + 18


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('config.py:last.pth', 'NAME=CONFIG:CHECKPOINT'),
        ('A=config.py', 'NAME=CONFIG:CHECKPOINT'),
        ('A=none.py:last.pth', 'there is no file none.py'),
        ('A={config}:none.pth', 'none.pth does not exist'),
        (
            'A={config}:{checkpoint}:teacher',
            r"\['student', 'mean'\], but got 'teacher'",
        ),
    ],
)
def test_a_network_that_is_not_there(tool, runs, text, message):
    path, checkpoint = runs['sup'].split(':')
    text = text.format(config=path, checkpoint=checkpoint)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool.main([text, '--device', 'cpu'])


def test_checkpoints_that_do_not_fit(tool, runs, tmp_path):
    path, checkpoint = runs['plain'].split(':')
    state = torch.load(checkpoint)['state_dict']
    cut = {k: v for k, v in state.items() if 'conv_seg' not in k}
    other = {k: v[:2] if 'conv_seg' in k else v for k, v in state.items()}
    for weights, message in ((cut, 'lacks decode_head.conv_seg'), (other, 'shape')):
        torch.save(dict(state_dict=weights), tmp_path / 'x.pth')
        with pytest.raises(ValueError, match=message):
            tool.main([f'A={path}:{tmp_path / "x.pth"}', '--device', 'cpu'])


def test_an_image_without_its_mask(tool, runs, tmp_path):
    images = data_of(runs) / 'unlabeled' / 'images'
    masks = data_of(runs) / 'val' / 'masks'
    arguments = ['--images', str(images), '--masks', str(masks), '--device', 'cpu']
    with pytest.raises(FileNotFoundError, match='no mask u0.png'):
        tool.main([f'A={runs["sup"]}', *arguments])


def test_networks_of_other_classes_or_one_name(tool, runs, tmp_path):
    path, checkpoint = runs['sup'].split(':')
    text = Path(path).read_text()
    (tmp_path / 'other.py').write_text(
        text
        + "\ntest_dataloader['dataset']['metainfo'] = dict(classes=('x', 'y', 'z'))"
    )
    other = f'B={tmp_path / "other.py"}:{checkpoint}'
    with pytest.raises(ValueError, match="same classes, but A has .* and B .'x'"):
        tool.main([f'A={runs["sup"]}', other, '--device', 'cpu'])
    (tmp_path / 'none.py').write_text(
        f"{text}\ntest_dataloader['dataset']['metainfo'] = None"
    )
    with pytest.raises(ValueError, match='C: the test data of .* no names of classes'):
        tool.main([f'C={tmp_path / "none.py"}:{checkpoint}', '--device', 'cpu'])
    with pytest.raises(ValueError, match='truth is the name of another column'):
        tool.main([f'truth={runs["sup"]}', '--device', 'cpu'])
    with pytest.raises(ValueError, match='different names'):
        tool.main([f'A={runs["sup"]}'] * 2 + ['--device', 'cpu'])
