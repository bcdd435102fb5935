"""Precision of negatives: crops with truth, selection, curves."""

import argparse

import numpy as np
import pytest
import torch
from helpers import CLASSES, spread
from PIL import Image
from tiny_run import build, config, tiny_student, write_data

from mmsemiseg.evaluation import NegativePairs
from mmsemiseg.models import StepQueue

CROP = (16, 16)


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/negative_precision')


def crops(**settings):
    flip = dict(type='RandomFlip', prob=0.5)
    settings = dict(crop_size=CROP, stride=4, iou_range=(0.3, 1.0)) | settings
    return dict(type='OverlapCrops', pipeline=[flip], **settings)


def cac_config(data, folder):
    contrast = dict(projector=dict(channels=4))
    cfg = config(
        data,
        folder,
        dict(type='CAC', student=tiny_student(), contrast=contrast),
    )
    load = dict(type='LoadImageFromFile')
    cfg.train_dataloader.unlabeled.dataset.pipeline = [load, crops()]
    return cfg


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder with data/, config.py, iter_2.pth, iter_10.pth and best.pth of a CAC."""
    folder = tmp_path_factory.mktemp('run')
    cfg = cac_config(write_data(folder / 'data', val=5), folder / 'work')
    cfg.dump(folder / 'config.py')
    model = build(cfg).model
    for iteration in (2, 10):
        spread(model.student, iteration)
        state = dict(state_dict=model.state_dict(), meta=dict(iter=iteration))
        torch.save(state, folder / f'iter_{iteration}.pth')
    torch.save(state, folder / 'best.pth')
    return folder


def hidden(run, kind='val'):
    data = run / 'data' / kind
    return ['--images', str(data / 'images'), '--masks', str(data / 'masks')]


def test_curve_over_the_checkpoints_of_a_folder(tool, run, tmp_path, capsys):
    arguments = [f'CAC={run / "config.py"}:{run}', *hidden(run)]
    options = ['--threshold', '0', '--plot', str(tmp_path / 'c' / 'curve.png')]
    assert tool.main([*arguments, *options, '--device', 'cpu']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == '5 images, batches of 3, eval mode'
    head = '|  | iteration | anchors | random % | filtered % | recall % |'
    assert lines[2] == head
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in lines[4:6]]
    assert [row[:2] for row in rows] == [['CAC', '2'], ['CAC', '10']]
    assert rows[0][2:] != rows[1][2:]
    for row in rows:
        assert int(row[2]) > 20
        assert all(0 < float(value) < 100 for value in row[3:])
    assert Image.open(tmp_path / 'c' / 'curve.png').size[0] == 600
    again = tool.main([*arguments, '--threshold', '0', '--device', 'cpu'])
    assert again == 0
    assert capsys.readouterr().out.splitlines()[4:6] == lines[4:6]


def samples_of(tool, run, count=5):
    from mmengine.config import Config

    cfg = Config.fromfile(run / 'config.py')
    arguments = tool.parse_args([f'A={run / "config.py"}:{run}', *hidden(run)])
    infos, read_mask = tool.hidden_infos(arguments, cfg)
    return tool.make_samples(infos[:count], tool.crops_of(cfg), read_mask, 3)


def test_truth_is_cut_and_flipped_as_the_image(tool, run):
    """Images of the test data are 80 * class plus noise below 80."""
    flips = set()
    for sample in samples_of(tool, run):
        for view, truth in zip(sample.views, sample.truths, strict=True):
            shown = view['inputs'].float().mean(0) // 80
            assert truth.shape == CROP and truth.equal(shown.long())
            assert 'coords' not in view['data_samples']
            flips.add(view['data_samples'].flip)
    assert flips == {True, False}


def test_padding_has_no_truth(tool):
    mask = np.arange(6, dtype=np.uint8).reshape(2, 3)
    rows = torch.tensor([[1, 1], [0, -1]])
    cols = torch.tensor([[2, 1], [0, -1]])
    coords = argparse.Namespace(data=torch.stack([rows, cols]))
    sample = argparse.Namespace(coords=coords)
    assert tool.cut_truth(mask, sample).tolist() == [[5, 4], [0, 255]]


def slow_counts(views, matches, threshold, banked):
    """Pairs of CAC's selection, one by one; ``banked`` are keys of earlier batches."""
    keys = [
        (int(label), int(truth))
        for view in views
        for label, truth in zip(view.label.flatten(), view.truth.flatten(), strict=True)
        if label < CLASSES and truth < CLASSES
    ]
    everything = [*keys, *banked]
    counts, number = [0] * 4, 0
    for side in (0, 1):
        mine, theirs, (index, found) = views[side], views[1 - side], matches[side]
        for n in range(len(index)):
            for cell in found[n].nonzero().flatten():
                other = index[n, cell]
                confidence = theirs.confidence[n, other]
                if not mine.confidence[n, cell] < confidence > threshold:
                    continue
                label, truth = int(mine.label[n, cell]), int(mine.truth[n, cell])
                number += 1
                for key_label, key_truth in everything:
                    kept, true = key_label != label, key_truth != truth
                    for i, counted in enumerate((True, true, kept, kept and true)):
                        counts[i] += counted
    return number, np.array(counts), keys


@pytest.mark.parametrize('bank_steps', [0, 1])
def test_counts_against_those_pair_by_pair(tool, run, bank_steps):
    source = tool.Source(f'CAC={run / "config.py"}:{run / "iter_2.pth"}')
    network = tool.load_network(source, 'cpu')
    if bank_steps:
        network.model.contrast.bank = StepQueue(bank_steps, rows=1, dim=4)
    samples = samples_of(tool, run, 4)
    number, pairs = tool.count_pairs(network, samples, 2, 4, 0.4)
    expected_number, expected, keys = 0, np.zeros(4, int), []
    for start in (0, 2):
        views, matches = tool.look(network, samples[start : start + 2], 4)
        banked = keys if bank_steps else []
        found = slow_counts(views, matches, 0.4, banked)
        expected_number += found[0]
        expected += found[1]
        keys = found[2]
    assert number == expected_number > 5
    assert pairs == NegativePairs(*expected)


def test_selection_is_that_of_the_loss(tool, run):
    """The share of the overlap that is selected, as CAC itself logs it."""
    source = tool.Source(f'CAC={run / "config.py"}:{run / "iter_10.pth"}')
    network = tool.load_network(source, 'cpu')
    assert network.iteration == 10 and not network.model.training
    samples = samples_of(tool, run, 3)
    network.model.contrast.directional.threshold = 0.4
    # stride 4 of the tiny student: no pooling
    views, matches = tool.look(network, samples, 4)
    shares = 0
    for side in (0, 1):
        index, found = matches[side]
        chosen = tool.selected(views[side], views[1 - side], index, found, True, 0.4)
        shares += chosen.sum() / found.sum()
    batches = [network.batch([one.views[side] for one in samples]) for side in (0, 1)]
    with torch.no_grad():
        losses, _ = network.model.consistency(batches)
    assert losses['dc_selected'] == pytest.approx(shares)
    assert shares > 0.1


@pytest.mark.parametrize('where', ['audit_dataset', 'hook'])
def test_truth_of_the_config(tool, run, tmp_path, capsys, where):
    cfg = cac_config(run / 'data', tmp_path / 'work')
    dataset = cfg.val_dataloader.dataset.copy()
    if where == 'hook':
        hook = dict(type='PseudoLabelAuditHook', dataloader=dict(dataset=dataset))
        cfg.custom_hooks = [dict(type='MemoryHook'), hook]
    else:
        cfg.audit_dataset = dataset
    cfg.dump(tmp_path / 'config.py')
    runs = []
    for place in (tmp_path, run):
        options = [] if place == tmp_path else hidden(run)
        network = f'A={place / "config.py"}:{run / "iter_2.pth"}'
        assert tool.main([network, *options, '--device', 'cpu']) == 0
        runs.append(capsys.readouterr().out)
    assert runs[0] == runs[1]


def test_a_plain_segmentor_after_the_config_with_crops(tool, run, tmp_path, capsys):
    plain = config(run / 'data', tmp_path / 'work', tiny_student())
    plain.dump(tmp_path / 'plain.py')
    state = torch.load(run / 'iter_2.pth')['state_dict']
    start = 'pairs.0.student.'
    state = {k.removeprefix(start): v for k, v in state.items() if start in k}
    torch.save(dict(state_dict=state), tmp_path / 'plain.pth')
    networks = [
        f'CAC={run / "config.py"}:{run / "iter_2.pth"}',
        f'Plain={tmp_path / "plain.py"}:{tmp_path / "plain.pth"}',
    ]
    assert tool.main([*networks, *hidden(run), '--device', 'cpu']) == 0
    rows = [line.split('|') for line in capsys.readouterr().out.splitlines()[4:6]]
    assert [row[1].strip() for row in rows] == ['CAC', 'Plain']
    assert rows[0][3:] == rows[1][3:]


def test_what_is_missing(tool, run, tmp_path):
    network = f'A={run / "config.py"}:{run / "iter_2.pth"}'
    with pytest.raises(ValueError, match='the truth is missing: give --images'):
        tool.main([network])
    with pytest.raises(ValueError, match='--images needs --masks'):
        tool.main([network, *hidden(run)[:2]])
    with pytest.raises(ValueError, match='--batch-size must be at least 1, but got 0'):
        tool.main([network, '--batch-size', '0'])
    with pytest.raises(ValueError, match='holds no iter_'):
        tool.main([f'A={run / "config.py"}:{run / "data"}', *hidden(run)])
    cfg = config(run / 'data', tmp_path / 'work')
    cfg.dump(tmp_path / 'config.py')
    with pytest.raises(ValueError, match='must have OverlapCrops'):
        tool.main([f'A={tmp_path / "config.py"}:x.pth', *hidden(run)])
