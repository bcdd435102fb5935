"""Features of many images: which are drawn, of which group, and where."""

import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from helpers import spread
from PIL import Image
from tiny_run import build, config, tiny_student, write_data

from mmsemiseg.models import ClassQueueBank, StepQueue

CTT = dict(
    type='CTT',
    student=tiny_student(),
    contrast=dict(bank=dict(size=4), projector=dict(channels=5)),
)
BANK = dict(type='BankContrast', bank=dict(size=4), proj_hidden=6, proj_channels=7)
CMB = dict(type='CMB', student=tiny_student(), contrast=BANK)
ESL = dict(
    type='ESL',
    student=tiny_student(),
    contrast=dict(
        num_parts=2,
        projector=dict(channels=6, hidden_channels=4),
        bank=dict(size=3),
    ),
)
CAC = dict(
    type='CAC',
    student=tiny_student(),
    contrast=dict(num_negatives=8, bank=dict(steps=1)),
)


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/embed_features')


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    """name -> 'config:checkpoint' of methods with full banks, and a plain segmentor."""
    folder = tmp_path_factory.mktemp('runs')
    data = write_data(folder / 'data', size=(32, 48))
    found = {}
    for number, (name, settings) in enumerate(
        dict(CTT=CTT, CMB=CMB, CAC=CAC, ESL=ESL).items()
    ):
        cfg = config(data, folder / name, settings)
        model = build(cfg).model.cpu()
        for place, network in enumerate(model.networks.values()):
            spread(network, 10 * number + place)
        fill(model)
        found[name] = save(folder / name, cfg, model.state_dict())
    plain = config(data, folder / 'Plain', tiny_student())
    plain.pop('train_dataloader')
    found['Plain'] = save(folder / 'Plain', plain, model.student.state_dict())
    return found


def save(folder, cfg, state):
    folder.mkdir(exist_ok=True)
    cfg.dump(folder / 'config.py')
    torch.save(dict(state_dict=state), folder / 'last.pth')
    return f'{folder / "config.py"}:{folder / "last.pth"}'


def fill(model):
    banks = [m for m in model.modules() if isinstance(m, (ClassQueueBank, StepQueue))]
    assert banks
    for number, bank in enumerate(banks):
        rows = torch.randn(12, bank.dim, generator=torch.Generator().manual_seed(9))
        labels = torch.arange(12) % 4  # the last is no class
        parts = getattr(model.contrast, 'num_parts', 1)
        bank.enqueue(rows + number, labels * parts + torch.arange(12) // 4 % parts)
    prototypes = getattr(model.contrast, 'prototypes', None)
    if prototypes is not None:
        classes, _, dim = prototypes.vectors.shape
        rows = torch.randn(30, dim, generator=torch.Generator().manual_seed(8))
        prototypes.begin(rows, torch.arange(30) % classes)


def prepared(tool, texts, *more):
    """(args, networks, the images of each group)"""
    from mmsemiseg.visualization.networks import load_networks

    args = tool.parse_args([*texts, '--device', 'cpu', *more])
    networks = load_networks(args.networks, args.device)
    return args, networks, tool.image_infos(args, networks)


def drawn(tool, texts, *more):
    """Points of the first network."""
    args, networks, groups = prepared(tool, texts, *more)
    return tool.image_points(args, networks[0], groups)


def all_cells(network, feature='pre_cls'):
    """Features (n, 8) of unit length and classes (n,) of the validation images."""
    features, labels = [], []
    network.data.full_init()
    for index in range(3):
        item = network.data[index]
        images = network.prepare(item)['inputs']
        with torch.no_grad():
            maps = network.adapter(feature)(network.segmentor, images).features
        rows = maps[0].flatten(1).T
        features.append(torch.nn.functional.normalize(rows, dim=1))
        mask = item['data_samples'].gt_sem_seg.data[0]
        height, width = maps.shape[2:]
        cells = mask.view(height, 32 // height, width, 48 // width).movedim(1, 2)
        labels += [
            torch.bincount(c, minlength=3) for c in cells.flatten(2).flatten(0, 1)
        ]
    return torch.cat(features), torch.stack(labels)


def test_cells_have_their_features_and_their_class(tool, runs):
    _, (network,), _ = prepared(tool, [f'A={runs["CTT"]}:teacher1'])
    expected, counts = all_cells(network)
    points = drawn(tool, [f'A={runs["CTT"]}:teacher1'], '--points', '99999')
    assert points.features.shape == expected.shape
    assert points.features.allclose(expected, atol=1e-5)
    assert (counts.gather(1, points.group[:, None])[:, 0] == counts.max(1).values).all()
    assert len(points.group.unique()) == 3
    per_image = len(expected) // 3
    assert points.image.equal(torch.arange(3).repeat_interleave(per_image))
    other = drawn(tool, [f'A={runs["CTT"]}:student1'], '--points', '99999')
    assert not other.features.allclose(points.features, atol=1e-2)
    stage = drawn(
        tool, [f'A={runs["CTT"]}:teacher1'], '--feature', '0', '--points', '99999'
    )
    assert stage.features.allclose(all_cells(network, 0)[0], atol=1e-5)


def test_classes_are_drawn_evenly_and_repeatably(tool, runs):
    texts = [f'A={runs["Plain"]}']
    points = drawn(tool, texts, '--points', '30')
    assert torch.bincount(points.group).tolist() == [10, 10, 10]
    again = drawn(tool, texts, '--points', '30')
    assert all(map(torch.equal, points, again))
    other = drawn(tool, texts, '--points', '30', '--seed', '1')
    assert not points.features.equal(other.features)
    every = drawn(tool, texts, '--points', '99999')
    distance = torch.cdist(points.features, every.features).min(1).values
    assert (distance < 1e-3).all()
    assert drawn(
        tool, texts, '--points', '30', '--count', '1'
    ).image.unique().tolist() == [0]


def test_rare_groups_leave_their_places_to_others(tool):
    group = torch.tensor([0] * 20 + [1] * 2 + [2] * 9)
    chosen = tool.draw_evenly(group, 14, np.random.default_rng(0))
    assert torch.bincount(group[chosen]).tolist() == [6, 2, 6]
    assert chosen.equal(chosen.unique())
    assert len(tool.draw_evenly(group, 99, np.random.default_rng(0))) == 31


def test_without_masks_the_prediction_is_the_class(tool, runs):
    images = Path(runs['CTT'].split(':')[0]).parents[1] / 'data' / 'val' / 'images'
    texts, more = [f'A={runs["CTT"]}'], ['--images', str(images), '--points', '99999']
    args, (network,), groups = prepared(tool, texts, *more)
    points = tool.image_points(args, network, groups)
    expected = []
    for info in groups[0]:
        batch = network.prepare(network.load(info))['inputs']
        with torch.no_grad():
            logits = network.adapter(None)(network.segmentor, batch).logits
        expected.append(logits.argmax(1).flatten())
    assert points.group.equal(torch.cat(expected))
    masks = ['--masks', str(images.parent / 'masks')]
    truth = drawn(tool, texts, *more, *masks)
    assert truth.features.equal(points.features)
    assert not truth.group.equal(points.group)


def test_padding_has_no_cells(tool, runs, tmp_path):
    path, checkpoint = runs['Plain'].split(':')
    padding = "\nmodel['data_preprocessor']['test_cfg'] = dict(size=(64, 64))\n"
    (tmp_path / 'padded.py').write_text(Path(path).read_text() + padding)
    points = drawn(tool, [f'A={runs["Plain"]}'], '--points', '99999')
    padded = drawn(
        tool, [f'A={tmp_path / "padded.py"}:{checkpoint}'], '--points', '99999'
    )
    assert padded.group.equal(points.group) and padded.image.equal(points.image)


def test_streams(tool, runs):
    texts = [f'P={runs["Plain"]}', f'A={runs["CTT"]}']
    args, networks, groups = prepared(tool, texts, '--show', 'streams')
    folders = [{info['img_path'].split('/')[-3] for info in infos} for infos in groups]
    assert folders == [{'labeled'}, {'unlabeled'}]
    assert [len(infos) for infos in groups] == [2, 4]
    args.points = 40
    points = tool.image_points(args, networks[0], groups)
    assert torch.bincount(points.group).tolist() == [20, 20]
    assert set(points.image[points.group == 0].tolist()) <= {0, 1}
    assert set(points.image[points.group == 1].tolist()) == {2, 3, 4, 5}
    _, _, few = prepared(tool, texts, '--show', 'streams', '--count', '1')
    assert [len(infos) for infos in few] == [1, 1]
    with pytest.raises(ValueError, match='name a semi-supervised network'):
        prepared(tool, texts[:1], '--show', 'streams')


@pytest.mark.parametrize(
    ('name', 'dim'),
    [
        ('CTT:student0', 5),
        ('CTT:student1', 5),
        ('CTT:teacher1', 5),
        ('CMB:teacher', 7),
        ('CAC:student', 128),
        ('ESL:teacher', 6),
    ],
)
def test_bank(tool, runs, name, dim):
    method, network = name.split(':')
    text = f'A={runs[method]}:{network}'
    args, (network,), groups = prepared(tool, [text], '--show', 'bank')
    points = tool.image_points(args, network, groups)
    bank = tool.bank_of(network)
    assert points.features.shape[1] == bank.features.shape[1] == dim
    for one in (points, bank):
        assert one.features.norm(dim=1).allclose(torch.ones(len(one.group)))
    assert (bank.image == -1).all()
    rows = torch.randn(12, dim, generator=torch.Generator().manual_seed(9))
    rows += name.endswith('1')
    rows /= rows.norm(dim=1, keepdim=True)
    known = torch.arange(12) % 4 < 3
    distance = torch.cdist(bank.features, rows[known])
    assert len(bank.group) == known.sum()
    assert (distance.min(1).values < 1e-3).all()
    assert bank.group.equal((torch.arange(12) % 4)[known][distance.argmin(1)])
    both = tool.with_bank(points, bank, 12, 0)
    assert (both.image < 0).sum() == 6 and len(both.image) == 12
    assert torch.bincount(both.group).tolist() == [4, 4, 4]


def test_drawn_points_keep_their_class(tool):
    """The parts of a point are drawn together, also where some are left out."""

    def points(n, image):
        group = torch.arange(n) % 3
        features = torch.stack([torch.arange(n), group], 1).float()
        return tool.Points(features, group, torch.full((n,), image))

    both = tool.with_bank(points(40, 5), points(30, -1), 20, 0)
    assert both.features[:, 1].equal(both.group.float())
    assert both.image.tolist() == [5] * 10 + [-1] * 10
    assert len(both.features[:10].unique(dim=0)) == 10


def test_the_bank_s_space_is_the_method_s(tool, runs):
    """Cells go through the head of the network's own pair, and of its own kind."""
    for name, head_of in {
        'CTT:student1': lambda model: model.contrast.head_pairs[1].student,
        'CTT:teacher0': lambda model: model.contrast.head_pairs[0].teacher,
        'CMB:teacher': lambda model: model.contrast.head_pairs[0].teacher.projection,
        'ESL:teacher': lambda model: model.contrast.head_pairs[0].teacher,
        'CAC:student': lambda model: model.contrast.projector,
    }.items():
        method, network = name.split(':')
        text = f'A={runs[method]}:{network}'
        args, (network,), groups = prepared(tool, [text], '--show', 'bank')
        calls = []
        head_of(network.model).register_forward_hook(
            lambda module, inputs, output, calls=calls: calls.append(output)
        )
        points = tool.image_points(args, network, groups)
        assert len(calls) == 3
        rows = [c if c.dim() == 2 else c[0].flatten(1).T for c in calls]
        rows = torch.nn.functional.normalize(torch.cat(rows), dim=1)
        assert torch.cdist(points.features, rows).min(1).values.max() < 1e-3
        args = tool.parse_args([text, '--device', 'cpu', '--embedding'])
        embedded = tool.image_points(args, network, groups)
        assert embedded.features.equal(points.features)


def test_parts_of_cells(tool, runs):
    """The prototype of its class whose cosine with the teacher's encoder is largest."""
    text, more = f'A={runs["ESL"]}:student', ['--show', 'parts', '--points', '99999']
    args, (network,), groups = prepared(tool, [text], *more)
    found = tool.image_points(args, network, groups, network)
    args.show = 'classes'
    points = tool.image_points(args, network, groups)
    assert found.features.equal(points.features)
    assert torch.div(found.group, 2, rounding_mode='floor').equal(points.group)
    model, start = network.model, 0
    prototypes = torch.nn.functional.normalize(model.contrast.prototypes.vectors, dim=2)
    for info in groups[0]:
        images = network.prepare(network.load(info))['inputs']
        with torch.no_grad():
            deep = model.teacher.extract_feat(images)[-1]
        deep = model.upsampled(deep, images)
        step = images.shape[2] * images.shape[3] // (len(points.group) // 3)
        cells = deep[0, :, :: round(step**0.5), :: round(step**0.5)].flatten(1).T
        label = points.group[start : start + len(cells)]
        score = torch.einsum('nd,nkd->nk', cells, prototypes[label])
        own = found.group[start : start + len(cells)]
        assert own.equal(label * 2 + score.argmax(1))
        start += len(cells)
    assert start == len(points.group)


def test_a_network_without_parts_shows_those_of_another(tool, runs):
    texts = [f'A={runs["Plain"]}', f'B={runs["ESL"]}:teacher']
    options = ['--show', 'parts', '--points', '99999']
    args, networks, groups = prepared(tool, texts, *options)
    assert tool.first_with_parts(args, networks) is networks[1]
    plain, own = (tool.image_points(args, n, groups, networks[1]) for n in networks)
    assert plain.group.equal(own.group)
    assert not plain.features.equal(own.features)


def test_chosen_classes(tool, runs):
    names = prepared(tool, [f'A={runs["ESL"]}'])[1][0].classes
    chosen = ['--classes', names[2], names[0], '--points', '99999']
    points = drawn(tool, [f'A={runs["ESL"]}'], *chosen)
    assert points.group.unique().tolist() == [0, 2]
    whole = drawn(tool, [f'A={runs["ESL"]}'], '--points', '99999')
    assert whole.features[whole.group != 1].equal(points.features)


def test_affinity_of_parts_is_within_a_class(tool):
    east, north = [1.0, 0.0], [0.0, 1.0]
    points = tool.Points(
        torch.tensor([east, east, north, east]),
        torch.tensor([0, 0, 1, 2]),  # the last is of another class
        torch.arange(4),
    )
    found = tool.affinity(points, 1, parts=2)
    assert found.same == pytest.approx(1) and found.other == pytest.approx(0)
    assert tool.affinity(points, 1).other == pytest.approx(2 / 5)


def test_affinity_of_a_hand_made_set(tool):
    """Cosines of 0 and 1 alone; pairs of one image do not count."""
    east, north = [1.0, 0.0], [0.0, 1.0]
    points = tool.Points(
        torch.tensor([east, east, east, north]),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([0, 1, 1, 2]),
    )
    # pairs: 0-1 same, 1; 0-2 other, 1; 0-3 and 1-3 other, 0; 2-3 same, 0
    found = tool.affinity(points, 1)
    assert found.same == pytest.approx(0.5)
    assert found.other == pytest.approx(1 / 3)
    assert found.chance == pytest.approx(2 / 5)
    found = tool.affinity(points, 9)
    assert found.nearest == pytest.approx(2 / 5)
    nothing = tool.affinity(tool.Points(*(part[:1] for part in points)))
    assert all(np.isnan(value) for value in nothing)


def test_nearest_neighbours(tool):
    """Two bundles of a class each, but for one point of the first in the second."""
    angle = torch.tensor([0.0, 0.01, 0.02, 1.50, 1.51, 1.52, 1.53])
    points = tool.Points(
        torch.stack([angle.cos(), angle.sin()], 1),
        torch.tensor([0, 0, 0, 1, 1, 1, 0]),
        torch.arange(7),
    )
    # of two neighbours each: 2 of the first three; 5, 4 and 3 of the others; none
    assert tool.affinity(points, 2).nearest == pytest.approx((6 + 2 + 2 + 1 + 0) / 14)


def test_cells_are_compared_with_the_bank_alone(tool):
    points = tool.Points(
        torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]),
        torch.tensor([0, 1, 0, 1]),
        torch.tensor([0, 1, -1, -1]),
    )
    found = tool.affinity(points, 1)
    assert found.same == pytest.approx(0.3) and found.other == pytest.approx(0.3)
    assert found.nearest == pytest.approx(0.5) and found.chance == pytest.approx(0.5)


@pytest.fixture
def panels(tool, monkeypatch):
    """The axes of the last picture."""
    found = []

    def keep(figure, path):
        found[:] = figure.axes
        return save(figure, path)

    save = tool.save_plot
    monkeypatch.setattr(tool, 'save_plot', keep)
    return found


@pytest.mark.parametrize('show', ['classes', 'streams', 'parts', 'bank'])
def test_what_is_drawn_and_printed(
    tool, runs, panels, tmp_path, capsys, monkeypatch, show
):
    layouts = []

    def place(rows, perplexity, seed):
        layouts.append(rows[:, :2].numpy())
        assert (perplexity, seed) == (4, 3)
        return layouts[-1]

    monkeypatch.setattr(tool, 'lay_out', place)
    second = 'CAC' if show == 'bank' else 'Plain'
    texts = [f'First={runs["CTT"]}:student1', f'Other={runs[second]}']
    if show == 'parts':
        texts[0] = f'First={runs["ESL"]}:teacher'
    out = tmp_path / 'a' / 'features.png'
    options = ['--show', show, '--points', '18', '--perplexity', '4', '--seed', '3']
    options += ['--out', str(out), '--device', 'cpu']
    assert tool.main([*texts, *options]) == 0
    assert out.stat().st_size > 1000
    lines = [line.split('|') for line in capsys.readouterr().out.splitlines()]
    rows = [[cell.strip() for cell in line[1:-1]] for line in lines[2:4]]
    assert [row[0] for row in rows] == ['First', 'Other']
    args, networks, groups = prepared(tool, texts, *options[:-4])
    for network, row, panel, places in zip(
        networks, rows, panels, layouts, strict=True
    ):
        teller = networks[0] if show == 'parts' else None
        points = tool.image_points(args, network, groups, teller)
        if show == 'bank':
            points = tool.with_bank(points, tool.bank_of(network), 18, 3)
        near = tool.affinity(points, parts=2 if show == 'parts' else 1)
        values = near.same, near.other, 100 * near.nearest, 100 * near.chance
        assert int(row[1]) == len(points.group)
        assert [float(x) for x in row[2:]] == pytest.approx(values, abs=0.06)
        palette = [[0, 0, 0], [9, 9, 9], [99, 99, 99]]
        colours = np.array(palette) / 255
        if show == 'streams':
            colours = tool.STREAM_COLOURS
        if show == 'parts':  # a quarter of the colour on white
            pale = 1 - 0.25 * (1 - colours)
            colours = np.stack([colours, pale], 1).reshape(-1, 3)
        expected = [
            (*place, *colours[group], image < 0)
            for place, group, image in zip(
                places.tolist(), *(part.tolist() for part in points[1:]), strict=True
            )
        ]
        shown = [
            (*place, *colour[:3], kind == 1)
            for kind, dots in enumerate(panel.collections)
            for place, colour in zip(
                dots.get_offsets().tolist(), dots.get_facecolors().tolist(), strict=True
            )
        ]
        assert np.array(sorted(shown)) == pytest.approx(np.array(sorted(expected)))
        assert panel.get_title() == network.name


def test_a_real_layout(tool, runs, tmp_path):
    from mmsemiseg.visualization.embedding import lay_out

    points = drawn(tool, [f'A={runs["CTT"]}'], '--points', '40')
    places = lay_out(points.features, 5, 0)
    assert places.shape == (40, 2) and np.isfinite(places).all()
    assert (lay_out(points.features, 5, 0) == places).all()
    out = tmp_path / 'x.png'
    words = ['--points', '40', '--perplexity', '5', '--out', str(out)]
    tool.main([f'A={runs["CTT"]}', *words, '--device', 'cpu'])
    assert Image.open(out).size == (432, 432)
    with pytest.raises(ValueError, match='below the number of points, 40, but got 40'):
        lay_out(points.features, 40, 0)


@pytest.mark.parametrize(
    ('name', 'more', 'message'),
    [
        ('Plain', ['--show', 'bank'], 'A is a EncoderDecoder without a bank'),
        ('Plain', ['--embedding'], 'A is a EncoderDecoder without a projector'),
        ('CTT', ['--show', 'bank', '--embedding'], 'leave out --feature and --embed'),
        ('CTT', ['--show', 'streams', '--images', 'x'], 'leave out --images'),
        ('CTT', ['--show', 'parts'], 'needs a run of ESL with its contrast'),
        ('CTT', ['--classes', 'x'], r"--classes: \['x'\] are not among"),
        ('CTT', ['--show', 'streams', '--classes', 'x'], 'leave out --classes'),
        ('CTT', ['--points', '1'], '--points must be at least 2, but got 1'),
        ('CTT', ['--feature', 'stage9'], 'feature index 8'),
        ('CTT', ['--count', '0'], '--count must be at least 1'),
        ('CTT:mean', [], r"features are one network's, of \['student0', .*'mean'"),
    ],
)
def test_what_cannot_be_shown(tool, runs, name, more, message):
    name, _, network = name.partition(':')
    text = f'A={runs[name]}' + (f':{network}' if network else '')
    with pytest.raises(ValueError, match=message):
        tool.main([text, '--device', 'cpu', *more])


def test_an_empty_bank(tool, runs, tmp_path):
    path, checkpoint = runs['CTT'].split(':')
    state = torch.load(checkpoint)['state_dict']
    state['contrast.banks.1.count'].zero_()
    torch.save(dict(state_dict=state), tmp_path / 'x.pth')
    with pytest.raises(ValueError, match='the bank of A is empty'):
        tool.main(
            [f'A={path}:{tmp_path / "x.pth"}:student1', '--show', 'bank']
            + ['--device', 'cpu']
        )


def test_without_scikit_learn(tool, runs, monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.manifold', None)
    with pytest.raises(ImportError, match=r'needs scikit-learn: pip install .*\[viz\]'):
        tool.main([f'A={runs["CTT"]}'])


@pytest.mark.parametrize('letters', [1, 16, 90])
def test_the_legend_fits_the_picture(tool, monkeypatch, letters):
    """Also names of which a row of three has no room."""
    kept = []
    monkeypatch.setattr(tool, 'save_plot', lambda figure, path: kept.append(figure))
    group = torch.arange(6)
    points = tool.Points(torch.zeros(6, 2), group, group)
    network = SimpleNamespace(
        palette=[[9 * k] * 3 for k in range(6)],
        classes=[f'{k}{"n" * letters}' for k in range(6)],
    )
    args = tool.parse_args(['name=config.py:file.pth'])
    tool.draw_figure(args, dict(name=(points, np.zeros((6, 2)))), network)
    (figure,) = kept
    (legend,) = figure.legends
    columns = len(legend.get_children()[0].get_children()[-1].get_children())
    assert columns == {1: 3, 16: 2, 90: 1}[letters]
    if letters < 90:
        assert legend.get_window_extent().width <= figure.bbox.width
    plt.close(figure)
