"""A checkpoint of a mean teacher, tested with each of its networks."""

import json
import sys

import pytest
import torch
from helpers import spread
from tiny_run import config, train, write_data


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """(folder with config.py and last.pth, the metrics of its own validation)."""
    folder = tmp_path_factory.mktemp('run')
    cfg = config(write_data(folder / 'data'), folder / 'work', max_iters=1)
    cfg.dump(folder / 'config.py')
    runner = train(cfg)
    for seed, network in enumerate(runner.model.networks.values()):
        spread(network, seed)
    torch.save(dict(state_dict=runner.model.state_dict()), folder / 'last.pth')
    expected = runner.val_loop.run()
    runner.model.predict_with = 'mean'
    scores = runner.test()
    expected.update({f'mean/{key}': value for key, value in scores.items()})
    return folder, expected


@pytest.mark.parametrize('network', ['student', 'teacher', 'mean', None])
def test_each_network(network, trained, load_tool, tmp_path, monkeypatch):
    folder, expected = trained
    options = ['--predict-with', network] if network else []
    arguments = [folder / 'config.py', folder / 'last.pth', '--work-dir', tmp_path]
    monkeypatch.setattr(sys, 'argv', ['test.py', *map(str, arguments), *options])
    tool = load_tool('test')
    tool.main(tool.parse_args())
    (file,) = tmp_path.glob('*/*.json')
    found = json.loads(file.read_text())
    name = network or 'teacher'
    for key in ('aAcc', 'mIoU', 'mAcc'):
        assert found[key] == pytest.approx(float(expected[f'{name}/{key}']))
    assert (
        len({float(expected[f'{n}/mIoU']) for n in ('student', 'teacher', 'mean')}) == 3
    )
