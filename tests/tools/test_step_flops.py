import json

import cac_run
import pytest
import tiny_run
import torch
from helpers import build
from mmengine.logging import MessageHub
from torch import nn

CELLS = 8 * 8  # of the tiny student's map of a 32 x 32 image


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/step_flops')


def write(cfg, folder):
    path = folder / 'tiny.py'
    cfg.dump(path)
    return str(path)


def run(tool, cfg, folder, *options):
    out = folder / 'out.json'
    assert tool.main([write(cfg, folder), '--out', str(out), *options]) == 0
    return json.loads(out.read_text())


def plain(folder, model=None, **settings):
    """Images that no transform crops."""
    return tiny_run.config(folder / 'no-data', folder / 'run', model, **settings)


def products(tool, result, part):
    """Forward, backward."""
    return tuple(
        tool.summed(result, part=part, backward=backward, product=True)
        for backward in (False, True)
    )


def convolutions(size=(32, 32)):
    """Operations of the tiny student's convolutions for an image, by hooks."""
    net = build(tiny_run.tiny_student())
    found = []

    def record(layer, inputs, out):
        found.append(2 * out[0].numel() * layer.weight[0].numel())

    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(record)
    net.eval()
    net(torch.zeros(1, 3, *size))
    return found


@pytest.mark.parametrize(
    ('model', 'unlabeled'),
    [
        (None, 3),
        (dict(type='FixMatch', student=tiny_run.tiny_student()), 3),
        (tiny_run.sup_only(), 0),
    ],
    ids=['MeanTeacher', 'FixMatch', 'SupOnly'],
)
def test_networks(tool, tmp_path, capsys, model, unlabeled):
    """Backward costs two forwards, one for the first layer; labelers have none."""
    result = run(tool, plain(tmp_path, model), tmp_path, '--size', '32', '32')
    first, *others = convolutions()
    forward, backward = first + sum(others), first + 2 * sum(others)
    images = {
        'supervised pass': 2,
        'pass without gradient': unlabeled,
        'student pass': unlabeled,
    }
    for stage, number in images.items():
        learned = 0 if stage == 'pass without gradient' else number
        expected = number * forward, learned * backward
        assert products(tool, result, stage) == expected
    assert result['images'] == {name: n for name, n in images.items() if n}
    stages = tool.stages_of(result)
    assert set(result['images']) <= set(stages) and stages[-1] == 'rest'
    assert ('pseudo label loss' in stages) == (unlabeled > 0)
    assert products(tool, result, 'rest') == (0, 0)
    assert sum(tool.summed(result, part=s) for s in stages) == tool.summed(result)
    printed = capsys.readouterr().out
    giga = tool.summed(result) / 1e9
    assert f' {giga:.3f} |' in printed and ' 100.00 |' in printed
    assert 'labeled: 2 x 3 x 32 x 32\n' in printed
    assert 'unlabeled weak: 3 x 3 x 32 x 32\n' in printed


def test_sizes_and_numbers(tool, tmp_path):
    options = ['--size', '48', '64', '--labeled', '1', '--unlabeled', '4']
    result = run(tool, plain(tmp_path), tmp_path, *options)
    assert result['streams'] == dict(
        labeled=[1, 3, 48, 64],
        unlabeled=dict(weak=[4, 3, 48, 64], strong=[4, 3, 48, 64]),
    )
    assert products(tool, result, 'pass without gradient') == (
        4 * sum(convolutions((48, 64))),
        0,
    )


def test_ctt(tool, tmp_path):
    """A cell meets the keys of its bank at the high level, of both at the low one."""
    found = {}
    for name, threshold in (('high', 0), ('low', 1)):
        model = dict(
            type='CTT',
            student=tiny_run.tiny_student(),
            contrast=dict(threshold=threshold, lc_direction=False, bank=dict(size=4)),
        )
        cfg = plain(tmp_path, model)
        result = run(tool, cfg, tmp_path, '--size', '32', '32')
        assert result['images'] == {
            'supervised pass': 2 * 2,
            'student pass': 2 * 3,
            'pass without gradient': 2 * (2 + 3),
        }
        found[name] = products(tool, result, f'contrast loss, {name} level')
    cells, dim, keys = 5 * 8 * 8, 8, 3 * 4
    # logits and, in the forward pass already, the gradient; of two students
    assert found['high'] == (2 * 2 * 2 * cells * dim * keys, 0)
    assert found['low'][0] > 1.5 * found['high'][0]


def test_twice_the_same(tool, tmp_path):
    cfg = plain(tmp_path)
    one, two = (run(tool, cfg, tmp_path, '--size', '32', '32') for _ in range(2))
    assert one == two


def cac(folder, **contrast):
    """All cells of the overlap learn; the whole of both crops are negatives."""
    cfg = cac_run.config(folder / 'no-data', folder / 'run')
    cfg.model.contrast.update(direction=False, **contrast)
    return cfg


def test_cac(tool, tmp_path):
    result = run(tool, cac(tmp_path), tmp_path)
    assert result['streams']['labeled'] == [2, 3, 32, 32]
    assert list(result['streams']['unlabeled']) == ['view1', 'view2']
    assert result['images'] == {'supervised pass': 2, 'student pass': 2 * 3}
    stages = tool.stages_of(result)
    assert [s for s in stages if any(products(tool, result, s))] == [
        'supervised pass',
        'student pass',
        'projection',
        'contrast loss',
    ]
    # Projector: 1x1 convolutions 8 -> 8 -> 6 on the cells of six crops
    heads = 6 * CELLS * 2 * (8 * 8 + 8 * 6)
    assert products(tool, result, 'projection') == (heads, 2 * heads)
    forward, backward = products(tool, result, 'contrast loss')
    # Keys of 6 numbers and 4 columns, filled up to 16; of this step and two before
    keys = (1 + cac_run.STEPS) * 2 * cac_run.NUMBER
    anchors, left = divmod(forward, 2 * keys * (16 + 16))
    assert left == 0 and backward == 0
    assert 2 * 3 * CELLS * 0.1 <= anchors <= 2 * 3 * CELLS
    assert tool.summed(result, part='contrast loss', backward=True) > 0


def test_crops_of_another_size(tool, tmp_path):
    cfg = cac(tmp_path)
    result = run(tool, cfg, tmp_path, '--size', '64', '48')
    assert result['streams']['labeled'] == [2, 3, 64, 48]
    assert result['streams']['unlabeled']['view2'] == [3, 3, 64, 48]


def test_past_the_warm_up_and_back(tool, tmp_path):
    """The loss starts in the last iteration; the hub of a run is left as it was."""
    cfg = cac(tmp_path, start=5)
    hub = MessageHub.get_current_instance()
    hub.update_info('iter', 3)
    assert tool.summed(run(tool, cfg, tmp_path), part='contrast loss') > 0
    assert hub.get_info('iter') == 3
    cfg.train_cfg.max_iters = 5
    result = run(tool, cfg, tmp_path)
    assert tool.summed(result, part='contrast loss') == 0


def test_confidences_reach_a_threshold(tool, tmp_path):
    """Random weights alone would not, and no cell would be selected."""
    for threshold, some in ((0.75, True), (1.0, False)):
        result = run(tool, cac(tmp_path, threshold=threshold), tmp_path)
        assert (products(tool, result, 'contrast loss')[0] > 0) == some


def test_weights_are_not_loaded(tool, tmp_path):
    cfg = plain(tmp_path)
    absent = dict(type='Pretrained', checkpoint='absent.pth')
    cfg.model.student.backbone.init_cfg = absent
    cfg.model.student.pretrained = 'absent.pth'
    result = run(tool, cfg, tmp_path, '--size', '32', '32')
    assert sum(result['images'].values()) == 2 + 3 + 3


@pytest.mark.parametrize(
    ('change', 'options', 'message'),
    [
        ({}, [], 'labeled has no crop_size: give --size'),
        ({'train_cfg.type': 'IterBasedTrainLoop'}, [], 'type=SemiTrainLoop'),
        ({}, ['--paper'], "CMB's figures, but model is MeanTeacher"),
        ({'model': tiny_run.tiny_student()}, [], 'model is a EncoderDecoder'),
    ],
)
def test_refused(tool, tmp_path, change, options, message):
    cfg = plain(tmp_path)
    if 'model' in change:
        cfg.model = change.pop('model')
    cfg.merge_from_dict(change)
    with pytest.raises(ValueError, match=message):
        tool.main([write(cfg, tmp_path), *options])


def test_bad_numbers(tool, capsys):
    for options in (['--size', '0', '8'], ['--labeled', '0'], ['--unlabeled', '-1']):
        with pytest.raises(SystemExit):
            tool.parse_args(['x.py', *options])
        assert 'must be at least 1' in capsys.readouterr().err


def test_options_of_the_paper(tool):
    args = tool.parse_args(['x.py', '--paper'])
    assert (args.size, args.labeled, args.unlabeled) == ([512, 512], 1, 1)
    args = tool.parse_args('x.py --paper --size 64 32 --unlabeled 2'.split())
    assert (args.size, args.labeled, args.unlabeled) == ([64, 32], 1, 2)


def tiny_contrast(**settings):
    return dict(
        type='BankContrast',
        start=2,
        proj_hidden=16,
        proj_channels=16,
        bank=dict(size=4),
        candidates=dict(threshold=None, start=1, **settings.pop('candidates', {})),
        **settings,
    )


def cmb(folder, **model):
    """Bank of 4 vectors a class, all of 16 numbers."""
    unlabeled = [dict(type='LoadImageFromFile'), dict(type='PackUnlabeledInputs')]
    cfg = plain(folder)
    cfg.model = dict(
        type='CMB',
        student=tiny_run.tiny_student(),
        **{**dict(contrast=tiny_contrast()), **model},
    )
    cfg.train_dataloader.unlabeled.dataset.pipeline = unlabeled
    return cfg


def test_cmb(tool, tmp_path):
    """Two labeled images, two augmentations of three unlabeled ones.

    The teacher sees the labeled ones too, for the bank.
    """
    result = run(tool, cmb(tmp_path), tmp_path, '--size', '32', '32')
    stages = dict.fromkeys(tool.stages_of(result))
    assert {'projection', 'attention'} <= set(stages)
    assert result['images'] == {
        'supervised pass': 2,
        'student pass': 6,
        'pass without gradient': 3 + 2,
    }
    first, *others = convolutions()
    forward = first + sum(others)
    for stage, images in result['images'].items():
        backward = 0 if 'without' in stage else 2 * forward - first
        assert products(tool, result, stage) == (images * forward, images * backward)
    projection, prediction = 2 * (8 * 16 + 16 * 16), 2 * (16 * 16 + 16 * 16)
    perceptrons = CELLS * (8 * (projection + prediction) + 2 * projection)
    # Mean and variance of a BatchNorm with a mask are products too
    norms = CELLS * (8 * 2 + 2) * 2 * 2 * 16
    heads, _ = products(tool, result, 'projection')
    assert perceptrons <= heads <= perceptrons + norms
    # Cells by the mean key of each class, and those means for both terms
    distance, _ = products(tool, result, 'contrast loss')
    assert distance == 2 * 8 * CELLS * 3 * 16 + 2 * (2 * 3 * 4 * 16)


def test_cmb_without_its_parts(tool, tmp_path):
    part = tiny_contrast(attention=False, candidates=dict(rank='random'))
    cfg = cmb(tmp_path, contrast=part)
    result = run(tool, cfg, tmp_path, '--size', '32', '32')
    stages = set(tool.stages_of(result))
    assert 'projection' in stages and not {'attention', 'augmentation'} & stages
    cfg = cmb(
        tmp_path, contrast=None, strong_augment=[dict(type='BatchScaleCrop', prob=1.0)]
    )
    result = run(tool, cfg, tmp_path, '--size', '32', '32')
    stages = set(tool.stages_of(result))
    assert 'augmentation' in stages and 'projection' not in stages


def test_beside_the_paper(tool, tmp_path, capsys):
    options = ['--paper', '--size', '32', '32']
    result = run(tool, cmb(tmp_path), tmp_path, *options)
    assert result['streams'] == dict(labeled=[1, 3, 32, 32], unlabeled=[1, 3, 32, 32])
    rows = capsys.readouterr().out.split("the paper's")[1].splitlines()
    figures = [row.split('|')[2:4] for row in rows if row.count('|') == 4]
    here, paper = zip(*[map(float, row) for row in figures], strict=True)
    assert paper == (372.04, 1116.12, 8.59, 15.96, 10.52, 35.07, 1151.19)
    passes = ('supervised pass', 'student pass')
    student = sum(tool.summed(result, part=p, backward=False) for p in passes)
    assert here[0] == pytest.approx(student / 3 / 1e9, abs=0.005)
    assert here[6] == pytest.approx(here[1] + here[5], abs=0.01)
