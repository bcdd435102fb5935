import copy
import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmsemiseg  # noqa: F401

CLASSES = 3
COCO = dict(
    mean=[104.00698793, 116.66876762, 122.67891434],
    std=[255, 255, 255],
    bgr_to_rgb=False,
)
STUDENT = dict(
    type='EncoderDecoder',
    backbone=dict(
        type='ResNet',
        depth=50,
        base_channels=2,
        stem_channels=2,
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        style='caffe',
        norm_cfg=dict(type='BN', requires_grad=False),
    ),
    decode_head=dict(
        type='DeepLabV2Head',
        in_channels=64,
        in_index=3,
        num_used=2,
        num_classes=CLASSES,
    ),
    test_cfg=dict(mode='whole'),
)


@pytest.fixture
def tool(load_tool):
    init_default_scope('mmseg')
    return load_tool('convert_weights')


def network(**head):
    torch.manual_seed(0)
    student = copy.deepcopy(STUDENT)
    student['decode_head'].update(head)
    built = MODELS.build(student)
    for value in built.state_dict().values():  # no two tensors alike
        if value.is_floating_point():
            value.uniform_(0.05, 0.15)  # positive, as variances are
    return built


def deeplab_names(state, prefix=''):
    """As in the file of COCO."""
    branch = re.compile(r'decode_head\.conv_seg\.convs\.')
    names = {k: branch.sub('layer5.conv2d_list.', k) for k in state}
    return {
        prefix + names[k].removeprefix('backbone.'): state[k]
        for k in state
        if not k.endswith('num_batches_tracked')
    }


def detectron_names(state):
    found = {}
    for name, value in state.items():
        if not name.startswith('backbone.') or 'num_batches' in name:
            continue
        name = name.removeprefix('backbone.')
        name = re.sub(r'^conv1\.', 'stem.conv1.', name)
        name = re.sub(r'^bn1\.', 'stem.conv1.norm.', name)
        name = re.sub(r'^layer(\d)', lambda m: f'res{int(m[1]) + 1}', name)
        name = re.sub(r'\.bn(\d)\.', r'.conv\1.norm.', name)
        name = name.replace('.downsample.0.', '.shortcut.')
        name = name.replace('.downsample.1.', '.shortcut.norm.')
        found[name] = value
    return found


def write_config(path, **changes):
    model = dict(
        type='SupOnly',
        student=copy.deepcopy(STUDENT),
        data_preprocessor=dict(type='SemiDataPreProcessor', **COCO),
    )
    model['student']['decode_head'].update(changes)
    Config(dict(model=model)).dump(path)
    return str(path)


def run(tool, folder, content, *words, legacy=False):
    source, out = folder / 'in.pth', folder / 'new' / 'out.pth'
    torch.save(content, source, _use_new_zipfile_serialization=not legacy)
    assert tool.main([str(source), '--out', str(out), *map(str, words)]) == 0
    return torch.load(out, weights_only=True)


def same(first, second):
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


def counted(state):
    return {k: v for k, v in state.items() if not k.endswith('num_batches_tracked')}


@pytest.mark.parametrize('prefix', ['', 'module.', 'Scale.', 'module.Scale.'])
@pytest.mark.parametrize('legacy', [True, False])
def test_deeplab_file(tmp_path, tool, prefix, legacy):
    state = network(num_used=4).state_dict()
    content = deeplab_names(state, prefix)
    found = run(tool, tmp_path, content, legacy=legacy)
    same(found['state_dict'], counted(state))
    assert found['meta'] == dict(
        source='in.pth', kind='coco', style='caffe', preprocess=COCO
    )


@pytest.mark.parametrize('wrapped', ['state_dict', 'model'])
def test_detectron2_file(tmp_path, tool, wrapped):
    state = network().state_dict()
    content = detectron_names(state)
    assert 'res5.2.conv3.norm.running_var' in content
    assert 'res2.0.shortcut.norm.bias' in content
    content = {f'backbone.bottom_up.{k}': v for k, v in content.items()}
    found = run(tool, tmp_path, {wrapped: content, 'iteration': 3})
    backbone = {k: v for k, v in counted(state).items() if k.startswith('backbone.')}
    same(found['state_dict'], backbone)
    assert found['meta']['kind'] == 'caffe'
    assert found['meta']['preprocess']['std'] == [1, 1, 1]


@pytest.mark.parametrize('kind', ['caffe', 'torchvision'])
def test_names_of_torchvision_need_the_kind(tmp_path, tool, capsys, kind):
    state = {
        k.removeprefix('backbone.'): v
        for k, v in network().state_dict().items()
        if k.startswith('backbone.')
    }
    content = state | {'fc.weight': torch.zeros(2, 2), 'fc.bias': torch.zeros(2)}
    with pytest.raises(ValueError, match='--kind torchvision or --kind caffe'):
        run(tool, tmp_path, content)
    found = run(tool, tmp_path, content, '--kind', kind)
    same(found['state_dict'], {f'backbone.{k}': v for k, v in state.items()})
    text = capsys.readouterr().out
    assert 'left out: 2 tensors: fc.weight, fc.bias' in text
    order = dict(caffe='bgr_to_rgb=False', torchvision='bgr_to_rgb=True')
    assert order[kind] in text


def test_names_that_contradict_the_kind(tmp_path, tool):
    content = deeplab_names(network().state_dict())
    with pytest.raises(ValueError, match="--kind caffe, but .* are of 'coco'"):
        run(tool, tmp_path, content, '--kind', 'caffe')


def test_config_keeps_what_its_student_has(tmp_path, tool, capsys):
    state = network(num_used=4).state_dict()
    config = write_config(tmp_path / 'config.py')
    found = run(tool, tmp_path, deeplab_names(state), '--student', config)
    kept = {k: v for k, v in counted(state).items() if not re.search(r'convs\.[23]', k)}
    same(found['state_dict'], kept)
    text = capsys.readouterr().out
    assert 'left out: 4 tensors: decode_head.conv_seg.convs.2.weight' in text
    assert 'differs' not in text


def test_student_starts_from_the_written_file(tmp_path, tool):
    source = network()
    run(tool, tmp_path, deeplab_names(source.state_dict()))
    student = copy.deepcopy(STUDENT)
    weights = str(tmp_path / 'new' / 'out.pth')
    for part, key in (('backbone', 'backbone.'), ('decode_head', 'decode_head.')):
        student[part]['init_cfg'] = dict(
            type='Pretrained', checkpoint=weights, prefix=key
        )
    model = MODELS.build(dict(type='SupOnly', student=student))
    model.init_weights()
    same(counted(model.student.state_dict()), counted(source.state_dict()))
    images = torch.randn(1, 3, 32, 32)
    expected = source.eval()(images, mode='tensor')
    assert torch.equal(model.student.eval()(images, mode='tensor'), expected)


def test_backbone_only(tmp_path, tool, capsys):
    state = network().state_dict()
    config = write_config(tmp_path / 'config.py', num_classes=CLASSES + 1)
    content = deeplab_names(state)
    with pytest.raises(ValueError, match='4 tensors of other shape.*--backbone-only'):
        run(tool, tmp_path, content, '--student', config)
    assert not (tmp_path / 'new').exists()
    found = run(tool, tmp_path, content, '--student', config, '--backbone-only')
    assert {k.partition('.')[0] for k in found['state_dict']} == {'backbone'}
    assert 'left out: 4 tensors: layer5.conv2d_list.0.weight' in capsys.readouterr().out


def test_file_that_is_not_all_of_the_backbone(tmp_path, tool):
    content = deeplab_names(network().state_dict())
    del content['layer4.2.conv3.weight']
    config = write_config(tmp_path / 'config.py')
    with pytest.raises(
        ValueError, match=r'1 tensors of the backbone .*: backbone.layer4.2.conv3.weig'
    ):
        run(tool, tmp_path, content, '--student', config)


def test_config_that_feeds_other_images_is_named(tmp_path, tool, capsys):
    content = deeplab_names(network().state_dict())
    state = {k: v for k, v in content.items() if not k.startswith('layer5')}
    config = write_config(tmp_path / 'config.py')
    run(tool, tmp_path, state, '--student', config, '--kind', 'torchvision')
    text = capsys.readouterr().out
    assert "differs: backbone style='caffe', not 'pytorch'" in text
    assert 'differs: data_preprocessor bgr_to_rgb=False, not True' in text
    assert 'differs: data_preprocessor std=[255, 255, 255], not [58.395' in text


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({'epoch': 3}, 'has no tensors'),
        ({'blocks.0.weight': torch.zeros(1)}, r'no backbone.*It has blocks\.0\.weight'),
        (
            {'conv1.weight': torch.zeros(1), 'module.conv1.weight': torch.ones(1)},
            r'tensors twice: conv1\.weight, module\.conv1\.weight',
        ),
    ],
)
def test_what_cannot_be_converted(tmp_path, tool, content, message):
    with pytest.raises(ValueError, match=message):
        run(tool, tmp_path, content, '--kind', 'torchvision')
    assert not (tmp_path / 'new').exists()


class Code:
    def __reduce__(self):
        return (open, ('stolen', 'w'))


def test_code_in_a_file_does_not_run(tmp_path, tool, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tool.CheckpointError, match='holds code'):
        run(tool, tmp_path, {'conv1.weight': torch.zeros(1), 'x': Code()})
    assert not (tmp_path / 'stolen').exists()


def test_base_config_of_coco_expects_what_is_written(tool):
    config = 'configs/_base_/models/deeplabv2_r101-d8_coco.py'
    _, student, preprocess = tool.student_of(config)
    assert tool.differences('coco', student, preprocess) == []
    config = 'configs/_base_/models/deeplabv2_r101-d8.py'
    _, student, preprocess = tool.student_of(config)
    assert tool.differences('torchvision', student, preprocess) == []


def test_weights_in_a_package_by_their_name(tmp_path, tool, capsys):
    new = tmp_path / 'lite0.pth'
    tool.main(['efficientnet-lite0', '--out', str(new)])
    text = capsys.readouterr().out
    assert 'left out: 8 tensors: _conv_head.weight' in text
    images = 'data_preprocessor=dict(mean=[127, 127, 127], std=[128, 128, 128]'
    assert f'kind lite: {images}, bgr_to_rgb=True)' in text
    own = MODELS.build(dict(type='EfficientNetLite'))
    init = dict(type='Pretrained', checkpoint=str(new), prefix='backbone.')
    loaded = MODELS.build(dict(type='EfficientNetLite', init_cfg=init))
    own.init_cfg = dict(type='Pretrained', checkpoint='efficientnet-lite0')
    for net in (own, loaded):
        net.init_weights()
    for one, other in zip(own.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(one, other)
