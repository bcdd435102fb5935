"""The adapter on tiny, real MMSegmentation models."""

import copy
from pathlib import Path

import pytest
import torch
from helpers import WEIGHTS_IGNORED
from mmcv.cnn.bricks import DropPath
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn
from torch.testing import assert_close
from zoo import ALL, CLASSES, FCN, LAST, WIDTHS, ZOO, encoder_decoder

from mmsemiseg.models.adapter import (
    HEAD_RULES,
    HeadRule,
    SegmentorAdapter,
    resize_logits,
)
from mmsemiseg.models.student import check_losses

# The layer that turns features into the main logits bit for bit.
LINEAR = [name for name in ZOO if name not in ('knet', 'segmenter')]


@pytest.fixture(autouse=True, scope='module')
def mmseg_modules():
    register_all_modules(init_default_scope=True)


def build(config):
    torch.manual_seed(0)
    return MODELS.build(ConfigDict(copy.deepcopy(config)))


def images(n=2):
    return torch.randn(n, 3, 64, 96, generator=torch.Generator().manual_seed(1))


def samples(n=2):
    generator = torch.Generator().manual_seed(2)
    found = []
    for _ in range(n):
        label = torch.randint(CLASSES, (1, 64, 96), generator=generator)
        found.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
    return found


def without_randomness(net):
    """In training mode, but for dropout; the statistics of BatchNorm do not matter."""
    for module in net.train().modules():
        if isinstance(module, (nn.Dropout, nn.Dropout2d, DropPath)):
            module.eval()
    return net


def assert_untouched(net):
    for module in net.modules():
        assert not module._forward_hooks
        assert not {'extract_feat', 'forward'} & set(vars(module))


# Heads alone, on the maps of a backbone of these widths at strides 4, 8, 16, 16.
SELECT = {**ALL, 'input_transform': 'multiple_select'}
HEADS = {
    'APCHead': {**LAST, 'pool_scales': (1, 2)},
    'CCHead': LAST,
    'DMHead': {**LAST, 'filter_sizes': (1, 3)},
    'DNLHead': LAST,
    'EMAHead': {**LAST, 'ema_channels': 16, 'num_bases': 4, 'num_stages': 2},
    'GCHead': LAST,
    'LRASPPHead': {
        **SELECT,
        'in_channels': [8, 16, 32],
        'in_index': [0, 1, 2],
        'branch_channels': (8, 8),
    },
    'LightHamHead': {**ALL, 'ham_channels': 16, 'ham_kwargs': {'MD_R': 4}},
    'NLHead': LAST,
    'SETRMLAHead': {**ALL, 'mla_channels': 4, 'up_scale': 2},
    'SETRUPHead': {**LAST, 'num_convs': 1, 'up_scale': 2},
    'STDCHead': LAST,
    'DPTHead': {
        **SELECT,
        'post_process_channels': [4, 8, 8, 8],
        'embed_dims': 16,
    },
}


def maps_for(name):
    generator = torch.Generator().manual_seed(1)
    sizes = [(16, 24), (8, 12), (4, 6), (4, 6)]
    widths = WIDTHS
    if name in ('SETRMLAHead', 'DPTHead'):  # maps of a plain transformer
        sizes = [(4, 6)] * 4
    if name == 'LRASPPHead':  # pools over 49 x 49
        sizes = [(52, 52), (52, 52), (50, 50), (4, 6)]
    if name == 'DPTHead':
        widths = [16] * 4
    maps = [
        torch.randn(2, width, *size, generator=generator)
        for width, size in zip(widths, sizes, strict=True)
    ]
    if name == 'DPTHead':
        return [(x, x.mean((2, 3))) for x in maps]
    return maps


@pytest.mark.parametrize('name', HEADS)
def test_other_heads(name):
    head = build({'type': name, **HEADS[name]}).train()
    for module in head.modules():
        if isinstance(module, nn.Dropout2d):
            module.eval()
    segmentor = Frozen(head)
    logits, features = SegmentorAdapter(segmentor)(segmentor, maps_for(name))
    assert logits.shape[:2] == (2, CLASSES)
    assert features.shape[:2] == (2, 16)
    assert torch.equal(head.conv_seg(features), logits)


def test_every_rule_is_tested():
    tested = {*HEADS, 'PSAHead'}  # PSAHead needs compiled operators
    tested |= {'Mask2FormerHead', 'MaskFormerHead', 'PointHead'}  # test_mask_heads.py
    for config in ZOO.values():
        heads = config['decode_head']
        tested |= {h['type'] for h in (heads if isinstance(heads, list) else [heads])}
    assert set(HEAD_RULES) <= tested


def test_every_rule_is_documented():
    text = (Path(__file__).parents[2] / 'docs' / 'features.md').read_text()
    assert [name for name in HEAD_RULES if f'`{name}`' not in text] == []


@pytest.mark.parametrize(
    ('name', 'stride'),
    [
        ('deeplabv3plus', 4),
        ('upernet', 4),
        ('fpn', 4),
        ('segformer', 4),
        ('fastscnn', 8),
        ('ddrnet', 8),
        ('pidnet', 8),
        ('segmenter', 16),
    ],
)
def test_documented_strides(name, stride):
    segmentor = build(ZOO[name]).train()
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    assert features.shape[2:] == logits.shape[2:] == (64 // stride, 96 // stride)


def last_head(segmentor):
    head = segmentor.decode_head
    return head[-1] if isinstance(head, nn.ModuleList) else head


def hook_count(segmentor):
    return sum(
        len(m._forward_hooks) + len(m._forward_pre_hooks) for m in segmentor.modules()
    )


@pytest.mark.parametrize('name', ZOO)
@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
def test_shapes_gradients_and_no_trace(name, training):
    segmentor = build(ZOO[name]).train(training)
    before = hook_count(segmentor)
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    assert logits.shape[:2] == (2, CLASSES)
    assert features.shape == (2, 16, *features.shape[2:])
    assert features.shape[2:] == logits.shape[2:]
    assert hook_count(segmentor) == before
    features.square().sum().backward()
    backbone = [p.grad for p in segmentor.backbone.parameters() if p.grad is not None]
    assert sum(grad.abs().sum() for grad in backbone) > 0


@pytest.mark.parametrize('name', ZOO)
def test_eval_logits_are_those_of_the_head(name):
    segmentor = build(ZOO[name]).eval()
    adapter = SegmentorAdapter(segmentor)
    expected = segmentor(images(), mode='tensor')
    expected = expected[0] if isinstance(expected, (list, tuple)) else expected
    logits, _ = adapter(segmentor, images())
    assert torch.equal(logits, expected)
    # and the whole way to the input size is that of mmseg's own prediction
    metas = [{'img_shape': (64, 96), 'ori_shape': (64, 96)}] * 2
    whole = segmentor.inference(images(), metas).detach()
    assert torch.equal(adapter.inference(segmentor, images()), whole)


@pytest.mark.parametrize('name', LINEAR)
@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
def test_classifier_on_features_gives_the_logits(name, training):
    segmentor = build(ZOO[name]).train(training)
    head = last_head(segmentor)
    for module in head.modules():
        if isinstance(module, nn.Dropout2d):
            module.eval()
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    assert torch.equal(head.conv_seg(features), logits)


def test_features_are_taken_before_dropout():
    segmentor = build(encoder_decoder({**FCN, 'dropout_ratio': 0.9})).train()
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    dropped = features.flatten(2).abs().sum(-1) == 0
    assert not dropped.any()
    # ... while the train-mode logits have seen it
    assert not torch.allclose(segmentor.decode_head.conv_seg(features), logits)


def test_knet_features_feed_the_first_stage():
    segmentor = build(ZOO['knet']).eval()
    head = segmentor.decode_head
    adapter = SegmentorAdapter(segmentor)
    _, features = adapter(segmentor, images())
    maps = segmentor.extract_feat(images())
    assert torch.equal(features, head.kernel_generate_head._forward_feature(maps))
    segmentor.train()
    head.kernel_generate_head.dropout.eval()
    stages = []
    handle = head.register_forward_hook(lambda m, i, output: stages.extend(output))
    logits, features = adapter(segmentor, images())
    handle.remove()
    assert len(stages) == 3
    assert logits is stages[-1]
    assert torch.equal(head.kernel_generate_head.conv_seg(features), stages[0])


def test_segmenter_features_give_the_masks():
    segmentor = build(ZOO['segmenter']).eval()
    head, classes = segmentor.decode_head, []
    head.classes_proj.register_forward_hook(lambda m, i, output: classes.append(output))
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    tokens = features.flatten(2).transpose(1, 2)
    patches = nn.functional.normalize(head.patch_proj(tokens), dim=2)
    masks = patches @ nn.functional.normalize(classes[0], dim=2).transpose(1, 2)
    masks = head.mask_norm(masks).transpose(1, 2).reshape(logits.shape)
    assert_close(masks, logits)


def test_pidnet_train_logits_are_the_integral_branch():
    segmentor = build(ZOO['pidnet']).train()
    seen = []
    segmentor.decode_head.register_forward_hook(
        lambda m, i, output: seen.append(output)
    )
    logits, _ = SegmentorAdapter(segmentor)(segmentor, images())
    assert len(seen[0]) == 3
    assert logits is seen[0][1]


@pytest.mark.parametrize(('feature', 'width'), [('stage4', 64), (0, 8), (-1, 64)])
def test_stage_features(feature, width):
    segmentor = build(ZOO['fcn']).eval()
    logits, features = SegmentorAdapter(segmentor, feature)(segmentor, images())
    assert features.shape[1] == width
    index = 3 if feature == 'stage4' else feature
    assert torch.equal(features, segmentor.extract_feat(images())[index])
    assert torch.equal(logits, segmentor(images(), mode='tensor'))


def test_no_features_when_not_asked():
    segmentor = build(ZOO['fcn']).eval()
    handles = []
    segmentor.decode_head.conv_seg.register_forward_hook(
        lambda m, i, o: handles.append(len(m._forward_hooks))
    )
    output = SegmentorAdapter(segmentor, None)(segmentor, images())
    assert output.features is None
    assert handles == [1]


def test_copies_run_with_the_same_adapter():
    student = build(ZOO['deeplabv3plus']).train()
    adapter = copy.deepcopy(SegmentorAdapter(student))
    teacher = copy.deepcopy(student).eval()
    with torch.no_grad():
        teacher.decode_head.conv_seg.bias.add_(1)
    before = copy.deepcopy(teacher.state_dict())
    student_output = adapter(student.eval(), images())
    teacher_output = adapter(teacher, images())
    assert torch.equal(teacher_output.features, student_output.features)
    assert_close(teacher_output.logits, student_output.logits + 1)
    assert all(torch.equal(v, before[k]) for k, v in teacher.state_dict().items())


class Model(nn.Module):
    """What DistributedDataParallel wraps: the adapter runs inside its forward."""

    def __init__(self, segmentor):
        super().__init__()
        self.segmentor, self.adapter = segmentor, SegmentorAdapter(segmentor)

    def forward(self, inputs):
        return self.adapter(self.segmentor, inputs)


def test_under_distributed_data_parallel():
    segmentor = build(ZOO['deeplabv3plus']).train()
    alone = Model(copy.deepcopy(segmentor))
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group('gloo', store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(Model(segmentor))
        results = []
        for model in (wrapped, alone):
            torch.manual_seed(0)  # dropout
            output = model(images())
            sum(x.square().mean() for x in output).backward()
            results.append(output)
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(results[0].logits, results[1].logits)
    assert torch.equal(results[0].features, results[1].features)
    for ours, theirs in zip(
        segmentor.parameters(), alone.segmentor.parameters(), strict=True
    ):
        assert_close(ours.grad, theirs.grad)


def test_under_autocast():
    segmentor = build(ZOO['fcn']).eval()
    with torch.autocast('cpu', torch.bfloat16):
        logits, features = SegmentorAdapter(segmentor)(segmentor, images())
        assert torch.equal(segmentor.decode_head.conv_seg(features), logits)
    assert logits.dtype == torch.bfloat16


def test_hooks_go_when_the_head_fails():
    segmentor = build(ZOO['fcn'])
    segmentor.decode_head.conv_seg = nn.Conv2d(3, CLASSES, 1)
    before = hook_count(segmentor)
    with pytest.raises(RuntimeError):
        SegmentorAdapter(segmentor)(segmentor, images())
    assert hook_count(segmentor) == before


def test_inference_keeps_modes_and_statistics():
    segmentor = build(ZOO['fcn']).train()
    segmentor.backbone.eval()
    modes = [m.training for m in segmentor.modules()]
    mean = segmentor.decode_head.convs[0].bn.running_mean.clone()
    logits = SegmentorAdapter(segmentor).inference(segmentor, images())
    assert logits.shape == (2, CLASSES, 64, 96)
    assert not logits.requires_grad
    assert [m.training for m in segmentor.modules()] == modes
    assert torch.equal(segmentor.decode_head.convs[0].bn.running_mean, mean)


@pytest.mark.parametrize('align_corners', [True, False])
def test_resize_logits_and_align_corners_of_the_head(align_corners):
    segmentor = build(encoder_decoder({**FCN, 'align_corners': align_corners})).eval()
    adapter = SegmentorAdapter(segmentor, None)
    logits = adapter(segmentor, images()).logits
    expected = resize(logits, (64, 96), None, 'bilinear', align_corners)
    assert torch.equal(resize_logits(logits, (64, 96), align_corners), expected)
    assert torch.equal(adapter.inference(segmentor, images()), expected)
    assert not torch.equal(
        expected, resize(logits, (64, 96), None, 'bilinear', not align_corners)
    )


# Without dropout in front of the classifier


@pytest.mark.parametrize('feature', ['pre_cls', 'stage1', None])
@pytest.mark.parametrize('name', LINEAR)
def test_logits_without_dropout(name, feature):
    segmentor = build(ZOO[name]).train()
    adapter = SegmentorAdapter(segmentor, feature)
    modes = [m.training for m in segmentor.modules()]
    logits, features = adapter(segmentor, images(), dropout=False)
    if feature == 'pre_cls':
        assert torch.equal(last_head(segmentor).conv_seg(features), logits)
    assert logits.requires_grad
    assert [m.training for m in segmentor.modules()] == modes


def test_dropout_is_on_by_default():
    segmentor = build(ZOO['fcn']).train()
    adapter = SegmentorAdapter(segmentor)
    logits, features = adapter(segmentor, images())
    assert not torch.equal(segmentor.decode_head.conv_seg(features), logits)


def test_other_dropouts_stay_on():
    segmentor = build(ZOO['ocrnet']).train()
    first, last = segmentor.decode_head
    modes = {}
    for name, module in (('first', first.dropout), ('last', last.dropout)):
        module.register_forward_hook(
            lambda m, i, o, name=name: modes.update({name: m.training})
        )
    SegmentorAdapter(segmentor)(segmentor, images(), dropout=False)
    assert modes == dict(first=True, last=False)


def test_dropout_that_is_off_stays_off():
    segmentor = build(ZOO['fcn']).train()
    segmentor.decode_head.dropout.eval()
    SegmentorAdapter(segmentor)(segmentor, images(), dropout=False)
    assert not segmentor.decode_head.dropout.training


def test_dropout_comes_back_after_an_error():
    segmentor = build(ZOO['fcn']).train()
    segmentor.decode_head.conv_seg = nn.Conv2d(3, CLASSES, 1)
    with pytest.raises(RuntimeError):
        SegmentorAdapter(segmentor)(segmentor, images(), dropout=False)
    assert segmentor.decode_head.dropout.training


# Width of the features


@pytest.mark.parametrize('name', ZOO)
def test_feature_channels(name):
    segmentor = build(ZOO[name]).train()
    adapter = SegmentorAdapter(segmentor)
    _, features = adapter(segmentor, images())
    assert adapter.feature_channels(segmentor) == features.shape[1]


@pytest.mark.parametrize('name', ['fcn', 'segformer', 'fpn', 'segmenter'])
@pytest.mark.parametrize('feature', ['stage1', -1])
def test_feature_channels_of_a_stage(name, feature):
    segmentor = build(ZOO[name]).train()
    segmentor.backbone.eval()
    modes = [m.training for m in segmentor.modules()]
    state = copy.deepcopy(segmentor.state_dict())
    adapter = SegmentorAdapter(segmentor, feature)
    width = adapter.feature_channels(segmentor)
    assert [m.training for m in segmentor.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in segmentor.state_dict().items())
    assert width == adapter(segmentor, images()).features.shape[1]


def test_feature_channels_of_a_missing_stage():
    segmentor = build(ZOO['fcn'])
    with pytest.raises(ValueError, match=r'feature index 6 \(stage7\)'):
        SegmentorAdapter(segmentor, 'stage7').feature_channels(segmentor)


class Frozen(nn.Module):
    """A segmentor around a head that MMSegmentation does not have."""

    def __init__(self, head):
        super().__init__()
        self.decode_head = head

    def extract_feat(self, inputs):
        return inputs


class TwoScaleHead(nn.Module):
    """Classifies twice; the first call gives the main logits."""

    align_corners, out_channels, num_classes = False, CLASSES, CLASSES

    def __init__(self):
        super().__init__()
        self.conv_seg = nn.Conv2d(3, CLASSES, 1)

    def forward(self, inputs):
        return self.conv_seg(inputs), self.conv_seg(inputs[..., ::2, ::2])


def test_own_head_is_refused_until_registered(monkeypatch):
    segmentor = Frozen(TwoScaleHead())
    with pytest.raises(ValueError, match=r'TwoScaleHead is not supported.*HEAD_RULES'):
        SegmentorAdapter(segmentor)
    monkeypatch.setitem(HEAD_RULES, 'TwoScaleHead', HeadRule())
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    assert logits.shape == (2, CLASSES, 64, 96)
    assert torch.equal(features, images())  # of the call that gave the logits
    monkeypatch.setitem(HEAD_RULES, 'TwoScaleHead', HeadRule(main=1))
    logits, features = SegmentorAdapter(segmentor)(segmentor, images())
    assert torch.equal(features, images()[..., ::2, ::2])


def test_ambiguous_calls_are_an_error(monkeypatch):
    class SumHead(TwoScaleHead):
        def forward(self, inputs):
            return self.conv_seg(inputs) + self.conv_seg(inputs.flip(3))

    monkeypatch.setitem(HEAD_RULES, 'SumHead', HeadRule())
    segmentor = Frozen(SumHead())
    with pytest.raises(RuntimeError, match='SumHead: 2 calls of its classifier'):
        SegmentorAdapter(segmentor)(segmentor, images())


def test_rule_with_a_wrong_path(monkeypatch):
    monkeypatch.setitem(HEAD_RULES, 'TwoScaleHead', HeadRule(classifier='cls.conv'))
    with pytest.raises(ValueError, match=r"TwoScaleHead has no layer 'cls.conv'"):
        SegmentorAdapter(Frozen(TwoScaleHead()))


@pytest.mark.parametrize(
    ('name', 'reason'),
    [
        ('SideAdapterCLIPHead', 'SAN is no EncoderDecoder: its head reads the image'),
        ('VPDDepthHead', 'it estimates depth and has no classes'),
        ('BisectHead', 'it is not known where its logits and features are'),
    ],
)
def test_heads_that_cannot_be_students_are_refused(name, reason):
    head = type(name, (nn.Module,), {})()
    message = f'decode_head {name} is not supported: {reason}'
    with pytest.raises(ValueError, match=message):
        SegmentorAdapter(Frozen(head))


def test_the_last_head_of_a_cascade_decides():
    segmentor = build(ZOO['ocrnet'])
    segmentor.decode_head.append(type('VPDDepthHead', (nn.Module,), {})())
    with pytest.raises(ValueError, match='decode_head VPDDepthHead is not supported'):
        SegmentorAdapter(segmentor)


def test_subclass_takes_the_rule_of_its_base():
    from mmseg.models.decode_heads import FCNHead

    class MyHead(FCNHead):
        pass

    head = MyHead(**{k: v for k, v in FCN.items() if k != 'type'}, num_convs=1)
    segmentor = build(ZOO['fcn'])
    segmentor.decode_head = head
    _, features = SegmentorAdapter(segmentor)(segmentor, images())
    assert features.shape[:2] == (2, 16)


def test_not_a_segmentor():
    with pytest.raises(TypeError, match='must be an EncoderDecoder.*got Conv2d'):
        SegmentorAdapter(nn.Conv2d(3, 3, 1))


# Several taps; encode and decode


@pytest.mark.parametrize('name', ['fcn', 'segformer', 'ocrnet', 'pidnet'])
def test_several_features(name):
    segmentor = build(ZOO[name]).eval()
    taps = ['stage1', 'pre_cls']
    both = SegmentorAdapter(segmentor, taps)
    logits, features = both(segmentor, images())
    widths = both.feature_channels(segmentor)
    assert isinstance(features, tuple)
    for tap, feature, width in zip(taps, features, widths, strict=True):
        one = SegmentorAdapter(segmentor, tap)
        expected = one(segmentor, images())
        assert torch.equal(feature, expected.features)
        assert torch.equal(logits, expected.logits)
        assert width == one.feature_channels(segmentor) == feature.shape[1]
    assert not both.classifies_features
    assert isinstance(
        SegmentorAdapter(segmentor, ['stage1'])(segmentor, images())[1], tuple
    )


def test_losses_with_several_features():
    net = build(ZOO['fcn'])
    _, got = SegmentorAdapter(net, (0, 'pre_cls')).loss(net, images(), samples())
    assert [x.shape[1] for x in got.features] == [8, 16]


@pytest.mark.parametrize('feature', [[], ['pre_cls', None], ['pre_cls', 'stage0']])
def test_bad_features(feature):
    with pytest.raises(ValueError, match='feature must'):
        SegmentorAdapter(build(ZOO['fcn']), feature)


@pytest.mark.parametrize('name', ZOO)
def test_encode_and_decode(name):
    segmentor = without_randomness(build(ZOO[name]))
    adapter = SegmentorAdapter(segmentor)
    maps = adapter.encode(segmentor, images())
    output = adapter.decode(segmentor, maps)
    whole = adapter(segmentor, images())
    assert_close(output.logits, whole.logits)
    assert_close(output.features, whole.features)
    perturbed = [x * torch.linspace(0, 2, x.shape[1])[:, None, None] for x in maps]
    other = adapter.decode(segmentor, perturbed).logits
    assert other.shape == whole.logits.shape
    assert not torch.allclose(other, whole.logits)
    other.square().sum().backward()
    backbone = [p.grad for p in segmentor.backbone.parameters() if p.grad is not None]
    assert sum(grad.abs().sum() for grad in backbone) > 0


@pytest.mark.parametrize('name', ZOO)
def test_features_alone_are_those_of_a_call(name):
    segmentor = without_randomness(build(ZOO[name]))
    for feature in ('pre_cls', ('pre_cls', -1)):
        adapter = SegmentorAdapter(segmentor, feature)
        expected = adapter(segmentor, images()).features
        assert_close(adapter.features(segmentor, images()), expected)
    assert adapter.features(segmentor, images(), only=1).equal(expected[1])


def test_features_alone_come_from_before_the_dropout_and_no_classifier_runs():
    segmentor = build(ZOO['fcn']).train()
    calls = []
    for layer in (segmentor.decode_head.conv_seg, segmentor.decode_head):
        layer.register_forward_hook(lambda module, *_: calls.append(module))
    adapter = SegmentorAdapter(segmentor, ('pre_cls', -1))
    torch.manual_seed(0)
    expected = adapter(segmentor, images()).features
    assert len(calls) == 2
    torch.manual_seed(0)
    assert_close(adapter.features(segmentor, images()), expected)
    adapter.features(segmentor, images(), only=1)
    assert len(calls) == 2


@pytest.mark.parametrize('feature', ['stage0', 'stage', 'neck', 1.0, True])
def test_bad_feature(feature):
    with pytest.raises(ValueError, match=f'feature must be .* got {feature!r}'):
        SegmentorAdapter(build(ZOO['fcn']), feature)


def test_missing_stage():
    segmentor = build(ZOO['fcn']).eval()
    with pytest.raises(ValueError, match=r'feature index 4 \(stage5\)'):
        SegmentorAdapter(segmentor, 'stage5')(segmentor, images())


def test_single_output_channel_is_refused():
    head = {**FCN, 'num_classes': 2, 'out_channels': 1, 'threshold': 0.3}
    with pytest.raises(ValueError, match='out_channels=1.*set out_channels=2'):
        SegmentorAdapter(build(encoder_decoder(head)))


@pytest.mark.parametrize('where', ['decode_head', 'auxiliary_head', 'ocr', 'knet'])
def test_class_weight_with_avg_non_ignore_is_refused(where):
    loss = {
        'type': 'CrossEntropyLoss',
        'class_weight': [1.0] * CLASSES,
        'avg_non_ignore': True,
    }
    bad = {**FCN, 'loss_decode': [{'type': 'CrossEntropyLoss'}, loss]}
    config, name = copy.deepcopy(ZOO['fcn']), r'decode_head\.loss_decode\.1 of FCNHead'
    if where == 'decode_head':
        config['decode_head'] = bad
    elif where == 'auxiliary_head':
        config['auxiliary_head'] = [FCN, bad]
        name = r'auxiliary_head\.1\.loss_decode\.1 of FCNHead'
    elif where == 'ocr':
        config = copy.deepcopy(ZOO['ocrnet'])
        config['decode_head'][1]['loss_decode'] = loss
        name = r'decode_head\.1\.loss_decode of OCRHead'
    else:
        config = copy.deepcopy(ZOO['knet'])
        config['decode_head']['kernel_generate_head'] = bad
        name = r'decode_head\.kernel_generate_head\.loss_decode\.1 of FCNHead'
    with pytest.raises(ValueError, match=rf'{name}.*avg_non_ignore=False'):
        check_losses(build(config))


@pytest.mark.parametrize(
    'settings',
    [
        {'avg_non_ignore': True},
        {'class_weight': [1.0] * CLASSES},
    ],
)
def test_working_losses_pass(settings):
    loss = {'type': 'CrossEntropyLoss', **settings}
    segmentor = build(encoder_decoder({**FCN, 'loss_decode': loss}))
    assert check_losses(segmentor) is None
    label = torch.randint(CLASSES, (2, 4, 4))
    label[0, 0] = 255 if WEIGHTS_IGNORED else 0
    value = segmentor.decode_head.loss_decode(
        torch.randn(2, CLASSES, 4, 4), label, ignore_index=255
    )
    assert value.isfinite()


def test_the_refused_loss_really_raises_and_the_advice_is_the_weighted_mean():
    weight, logits = [1.0, 2.0, 3.0, 4.0, 5.0], torch.randn(2, CLASSES, 4, 4)
    label = torch.randint(CLASSES, (2, 4, 4))
    label[0, 0] = 255
    settings = {'type': 'CrossEntropyLoss', 'class_weight': weight}
    broken = MODELS.build({**settings, 'avg_non_ignore': True})
    with pytest.raises(IndexError):
        broken(logits, label, ignore_index=255)
    advised = MODELS.build({**settings, 'avg_non_ignore': False})
    if not WEIGHTS_IGNORED:
        with pytest.raises(IndexError):
            advised(logits, label, ignore_index=255)
        return
    expected = nn.functional.cross_entropy(
        logits, label, torch.tensor(weight), ignore_index=255
    )
    assert_close(advised(logits, label, ignore_index=255), expected)


@pytest.mark.parametrize('name', [name for name in ZOO if name != 'pidnet'])
def test_losses_with_features_of_the_same_pass(name):
    net = without_randomness(build(ZOO[name]))
    adapter = SegmentorAdapter(net)
    expected = net.loss(images(), samples())
    output = adapter(net, images())
    losses, got = adapter.loss(net, images(), samples())
    assert losses.keys() == expected.keys()
    assert_untouched(net)
    for key, value in expected.items():
        assert_close(losses[key], value)
    assert_close(got.logits, output.logits)
    assert_close(got.features, output.features)


@pytest.mark.parametrize('feature', ['stage1', None])
def test_losses_with_features_of_a_stage(feature):
    net = build(ZOO['fcn'])
    _, got = SegmentorAdapter(net, feature).loss(net, images(), samples())
    if feature is None:
        assert got.features is None
    else:
        assert_close(got.features, net.extract_feat(images())[0])


def test_no_trace_after_a_loss_that_fails():
    net = build(ZOO['fcn'])
    with pytest.raises(AttributeError):
        SegmentorAdapter(net).loss(net, images(), [None, None])
    assert_untouched(net)


def test_a_wrapper_of_somebody_else_stays():
    net, seen = build(ZOO['fcn']), []
    original = net.extract_feat

    def wrapper(inputs):
        seen.append(len(inputs))
        return original(inputs)

    net.extract_feat = wrapper
    SegmentorAdapter(net).loss(net, images(), samples())
    assert net.extract_feat is wrapper
    assert seen == [2]


# torch.compile

COMPILED = {
    'backbone': lambda net, **how: net.backbone.compile(**how),
    'head': lambda net, **how: net.decode_head.compile(**how),
    'wrapped head': lambda net, **how: setattr(
        net, 'decode_head', torch.compile(net.decode_head, **how)
    ),
}


@pytest.mark.parametrize(
    ('part', 'backend'),
    [*((part, 'eager') for part in COMPILED), ('head', 'aot_eager')],
)
def test_compiled_parts(part, backend):
    """By PyTorch's default compiled code does not look for hooks of later calls."""
    torch._dynamo.reset()
    plain, compiled = (without_randomness(build(encoder_decoder(FCN))) for _ in '12')
    COMPILED[part](compiled, backend=backend)
    adapter = SegmentorAdapter(compiled)
    x = images()
    for _ in range(2):
        head = compiled.decode_head  # as anyone may call it, without hooks
        assert head(compiled.extract_feat(x)).shape == (2, CLASSES, 4, 6)
        expected = SegmentorAdapter(plain)(plain, x)
        found = adapter(compiled, x)
        assert_close(found.logits, expected.logits)
        assert_close(found.features, expected.features)
        found.logits.mean().backward()
        _, found = adapter.loss(compiled, x, samples())
        assert_close(found.features, expected.features)
    torch._dynamo.reset()
