import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.testing import assert_close

from mmsemiseg.models import EfficientNetLite
from mmsemiseg.models.backbones.efficientnet_lite import stage_layout

STRIDES = (2, 4, 8, 16, 16, 32, 32)


@pytest.mark.parametrize(
    ('arch', 'layout'),
    [
        ('lite0', [(1, 16), (2, 24), (2, 40), (3, 80), (3, 112), (4, 192), (1, 320)]),
        ('lite1', [(1, 16), (3, 24), (3, 40), (4, 80), (4, 112), (5, 192), (1, 320)]),
        ('lite2', [(1, 16), (3, 24), (3, 48), (4, 88), (4, 120), (5, 208), (1, 352)]),
    ],
)
def test_blocks_and_widths_of_the_table(arch, layout):
    assert stage_layout(arch) == layout
    with torch.device('meta'):
        stages = EfficientNetLite(arch).stages
    found = [(len(s), s[-1].project.conv.out_channels) for s in stages]
    assert found == layout


@pytest.mark.parametrize('output_stride', [32, 16])
@pytest.mark.parametrize('size', [(64, 96), (61, 75)])
def test_sizes_of_maps_are_rounded_up(output_stride, size):
    net = EfficientNetLite(out_indices=range(7), output_stride=output_stride).eval()
    with torch.no_grad():
        maps = net(torch.zeros(1, 3, *size))
    for map_, stride in zip(maps, STRIDES, strict=True):
        stride = min(stride, output_stride)
        assert map_.shape[2:] == tuple(-(-side // stride) for side in size)


def test_default_maps():
    with torch.no_grad():
        maps = EfficientNetLite().eval()(torch.zeros(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == [24, 40, 112, 320]
    assert [64 // m.shape[2] for m in maps] == [4, 8, 16, 32]


def test_stride_16_dilates_what_follows_the_stride():
    stages = EfficientNetLite(output_stride=16).stages
    dilations = [b.depthwise.conv.dilation[0] for s in stages[4:] for b in s]
    assert dilations == [1, 1, 1, 1, 2, 2, 2, 2]
    assert all(b.depthwise.conv.stride == (1, 1) for b in stages[5])


def test_shortcuts_are_where_shapes_agree():
    blocks = [b for stage in EfficientNetLite().stages for b in stage]
    found = [block.shortcut for block in blocks]
    strides = [block.depthwise.conv.stride[0] for block in blocks]
    assert strides == [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1]
    assert [i for i, there in enumerate(found) if there] == [
        *(2, 4, 6, 7, 9, 10, 12, 13, 14)
    ]


def test_norm_is_that_of_the_published_net():
    norms = [m for m in EfficientNetLite().modules() if isinstance(m, _BatchNorm)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-3, 0.01)}
    assert len(norms) == 1 + 2 + 15 * 3  # stage 0 has no expansion


def test_frozen_stages():
    net = EfficientNetLite(frozen_stages=1).train()
    trained = {
        name.split('.')[1] for name, p in net.named_parameters() if p.requires_grad
    }
    assert trained == {'2', '3', '4', '5', '6'}
    modes = [part.training for part in (net.stem, *net.stages)]
    assert modes == [False] * 3 + [True] * 5


def test_nothing_is_frozen_by_default():
    net = EfficientNetLite().train()
    assert all(p.requires_grad for p in net.parameters())
    assert all(m.training for m in net.modules())


def test_norm_eval():
    net = EfficientNetLite(norm_eval=True).train()
    norms = [m for m in net.modules() if isinstance(m, _BatchNorm)]
    assert norms and not any(m.training for m in norms)
    assert net.stages[3][0].training


def test_checkpointing_gives_the_same_gradients():
    torch.manual_seed(0)
    net, images = EfficientNetLite(norm_eval=True), torch.randn(2, 3, 32, 32)
    grads = []
    for with_cp in (False, True):
        for block in net.stages.modules():
            if hasattr(block, 'with_cp'):
                block.with_cp = with_cp
        net.zero_grad()
        net.train()(images)[-1].square().mean().backward()
        grads.append([p.grad.clone() for p in net.parameters()])
    for plain, again in zip(*grads, strict=True):
        assert_close(plain, again)


def test_drop_path_grows_and_is_off_in_eval():
    net = EfficientNetLite(drop_path_rate=0.32)
    rates = [
        getattr(block.drop_path, 'drop_prob', 0.0) for s in net.stages for block in s
    ]
    assert_close(torch.tensor(rates), torch.arange(16) * 0.02)
    plain = EfficientNetLite().eval()
    plain.load_state_dict(net.state_dict())
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert_close(net.eval()(images)[-1], plain(images)[-1])


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(arch='b0'), "arch must be in .*'lite0'.* got 'b0'"),
        (dict(out_indices=(7,)), r'out_indices must be of 0 to 6, but got \(7,\)'),
        (dict(out_indices=()), 'out_indices'),
        (dict(output_stride=8), 'output_stride must be 16 or 32, but got 8'),
        (dict(frozen_stages=7), 'frozen_stages must be of -1 to 6, but got 7'),
        (dict(drop_path_rate=1.0), r'drop_path_rate must be in \[0, 1\), but got 1.0'),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        EfficientNetLite(**settings)
