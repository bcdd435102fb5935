import copy
import shutil

import cv2
import numpy as np
import pytest
from tiny_run import config, unlabeled_set, write_data

BAR = 24  # height of a title


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = write_data(tmp_path_factory.mktemp('data'), size=(32, 48))
    (root / 'unlabeled/images/seq').mkdir()
    shutil.move(root / 'unlabeled/images/u3.png', root / 'unlabeled/images/seq/u3.png')
    return root


@pytest.fixture
def tool(data, load_tool, tmp_path, monkeypatch):
    module = load_tool('analysis_tools/browse_dataset')
    monkeypatch.chdir(tmp_path)

    def call(*options, **settings):
        cfg = config(data, tmp_path / 'work', **settings)
        cfg.train_dataloader.unlabeled.dataset = unlabeled_set(data)
        cfg.dump('some.py')
        options = ['some.py', '--out', 'out', '--height', '32', *options]
        module.main(module.parse_args(options))
        files = sorted((tmp_path / 'out').rglob('*.png'))
        return {str(p.relative_to(tmp_path / 'out')): cv2.imread(str(p)) for p in files}

    return call


def test_each_stream_with_its_views(tool, data, capsys):
    pictures = tool()
    assert list(pictures) == [
        *(f'labeled/l{i}.png' for i in range(2)),
        'unlabeled/seq/u3.png',
        *(f'unlabeled/u{i}.png' for i in range(3)),
        *(f'val/v{i}.png' for i in range(3)),  # test is the same data
    ]
    assert '4 pictures -> out/unlabeled' in capsys.readouterr().out
    for picture in pictures.values():  # two of them side by side
        assert picture.shape == (BAR + 32, 2 * 48, 3)

    # the names of the views are sorted in a config that was written
    strong, weak = np.split(pictures['unlabeled/u0.png'][BAR:].astype(int), 2, axis=1)
    image = cv2.imread(str(data / 'unlabeled/images/u0.png'))
    assert any((weak == view).all() for view in (image, image[:, ::-1]))
    assert np.abs(weak - strong).mean() > 1

    image, painted = np.split(pictures['val/v1.png'][BAR:].astype(int), 2, axis=1)
    mask = cv2.imread(str(data / 'val/masks/v1.png'), cv2.IMREAD_UNCHANGED)
    colours = np.array([[0, 0, 0], [9, 9, 9], [99, 99, 99]])
    np.testing.assert_allclose(painted, 0.4 * image + 0.6 * colours[mask], atol=0.51)


def test_fewer_images_and_other_views(tool):
    options = ('--streams', 'unlabeled', '--count', '2')
    one, same, other = (tool(*options, '--seed', seed) for seed in ('0', '0', '1'))
    assert list(one) == ['unlabeled/seq/u3.png', 'unlabeled/u2.png']
    assert all((one[name] == same[name]).all() for name in one)
    assert any((one[name] != other[name]).any() for name in one)


def test_padding_is_magenta_and_masks_may_be_larger(tool, data):
    padded = copy.deepcopy(unlabeled_set(data))
    padded['pipeline'][1]['shared'] = [dict(type='Pad', size=(32, 64))]
    half = dict(type='Resize', scale_factor=0.5)
    validation = config(data, 'x').val_dataloader.dataset.to_dict()
    validation['pipeline'].insert(1, half)
    sets = {
        'train_dataloader.extra': dict(batch_size=1, dataset=padded),
        'val_dataloader.dataset': validation,
    }
    pictures = tool('--streams', 'extra', 'val', 'test', **sets)
    assert (pictures['extra/u0.png'][BAR:, 48:64] == (255, 0, 255)).all()
    assert pictures['val/v0.png'].shape == pictures['test/v0.png'].shape


def test_wrong_arguments(tool, capsys):
    with pytest.raises(ValueError, match=r"\['lab'\] are not in \['labeled', 'unl"):
        tool('--streams', 'lab')
    with pytest.raises(SystemExit):
        tool('--count', '0')
    assert '--count and --height must be at least 1' in capsys.readouterr().err
