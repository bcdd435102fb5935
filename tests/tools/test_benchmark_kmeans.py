"""K-means beside scikit-learn's, and alone."""

import json

import pytest
import torch

SMALL = ['--rows', '300', '--dim', '8', '--runs', '2', '--clusters', '2', '3']


@pytest.fixture
def tool(load_tool):
    return load_tool('benchmark/kmeans')


def test_inertia_beside_scikit_learn(tool, tmp_path, capsys):
    pytest.importorskip('sklearn.cluster')
    out = tmp_path / 'kmeans.json'
    words = ['--kinds', 'blobs', '--seeds', '2', '--out', str(out)]
    assert tool.main([*SMALL, *words]) == 0
    found = json.loads(out.read_text())
    assert found['settings']['rows'] == 300
    assert [(one['kind'], one['clusters']) for one in found['figures']] == [
        ('blobs', 2),
        ('blobs', 3),
    ]
    lines = [x for x in capsys.readouterr().out.splitlines() if x.startswith('| blobs')]
    for one, line in zip(found['figures'], lines, strict=True):
        assert len(one['ours']) == len(one['theirs']) == 2
        ratio = max(one['ours']) / min(one['theirs'])
        assert float(line.split('|')[3]) == pytest.approx(ratio, abs=1e-5)
        assert 0.98 < ratio < 1.02


def test_alone_it_tells_its_iterations(tool, tmp_path, capsys):
    out = tmp_path / 'kmeans.json'
    words = ['--alone', '--kinds', 'even', '--iterations', '3', '--out', str(out)]
    assert tool.main([*SMALL, *words]) == 0
    text = capsys.readouterr().out
    assert 'iteration 1: ' in text and 'iteration 4: ' not in text
    found = json.loads(out.read_text())
    assert found['inertia'] > 0 and found['memory'] >= 0


@pytest.mark.parametrize('kind', ['blobs', 'mixture', 'even'])
def test_features_of_groups(tool, kind, monkeypatch):
    monkeypatch.setattr(tool, 'CHUNK', 8)
    rows = tool.features(kind, 50, 4, torch.float32)
    assert rows.shape == (50, 4) and rows.isfinite().all()
    groups, _ = tool.KINDS[kind]
    if kind == 'blobs':
        means = [rows[g::groups].mean(0) for g in range(groups)]
        spread = torch.cdist(torch.stack(means), torch.stack(means))
        assert spread[~torch.eye(groups, dtype=torch.bool)].min() > 2


def test_bad_numbers(tool, capsys):
    with pytest.raises(SystemExit):
        tool.main(['--rows', '0'])
    assert 'all numbers must be at least 1' in capsys.readouterr().err
