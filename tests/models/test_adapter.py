"""The adapter on tiny, real MMSegmentation models: logits, features, no trace left."""

import copy

import pytest
import torch
from mmseg.models.utils import resize
from torch import nn
from torch.testing import assert_close
from zoo import CLASSES, FCN, ZOO, encoder_decoder
from zoo_models import (
    LINEAR,
    build,
    hook_count,
    images,
    last_head,
    samples,
    without_randomness,
)

from mmsemiseg.functional import resize_logits
from mmsemiseg.models.adapter import SegmentorAdapter


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
    assert_close(adapter.inference(segmentor, images()), whole)


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
    assert_close(resize_logits(logits, (64, 96), align_corners), expected)
    assert_close(adapter.inference(segmentor, images()), expected)
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


# torch.compile

COMPILED = {
    'backbone': lambda net, **how: net.backbone.compile(**how),
    'head': lambda net, **how: net.decode_head.compile(**how),
    'wrapped head': lambda net, **how: setattr(
        net, 'decode_head', torch.compile(net.decode_head, **how)
    ),
}


@pytest.mark.slow
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
