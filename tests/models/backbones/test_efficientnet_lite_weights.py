"""The published weights compute what the published network does."""

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from mmengine.runner import CheckpointLoader
from mmseg.registry import MODELS
from torch.testing import assert_close

from mmsemiseg.models import EfficientNetLite
from mmsemiseg.models.backbones.efficientnet_lite_weights import (
    backbone_weights,
    new_name,
)
from mmsemiseg.utils.package_weights import find_package_weights

NAME = 'efficientnet-lite0'
INIT = dict(type='Pretrained', checkpoint=NAME)
LAST_BLOCKS = (0, 2, 4, 7, 10, 14, 15)  # of the stages


@pytest.fixture(scope='module')
def published():
    weights = torch.load(find_package_weights(NAME), weights_only=True)
    net = EfficientNet.from_name(NAME, image_size=None)  # pads by the image's size
    net.load_state_dict(weights)
    return net.eval()


@pytest.fixture(scope='module')
def ours():
    cfg = dict(type='EfficientNetLite', out_indices=range(7), init_cfg=INIT)
    net = MODELS.build(cfg)
    net.init_weights()
    return net.eval()


@pytest.mark.parametrize('size', [(64, 64), (61, 75), (33, 128)])
def test_features_of_all_stages(published, ours, size):
    torch.manual_seed(0)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        x = published._swish(published._bn0(published._conv_stem(images)))
        expected = []
        for index, block in enumerate(published._blocks):
            x = block(x)
            if index in LAST_BLOCKS:
                expected.append(x)
        found = ours(images)
    for stage, (one, other) in enumerate(zip(found, expected, strict=True)):
        error = (one - other).norm() / other.norm()
        assert one.shape == other.shape and error < 1e-5, f'stage {stage}: {error}'


def test_logits_of_the_classifier(published, ours):
    """Of a synthetic image, with the published head on our last map."""
    grid = torch.linspace(-1, 1, 96)
    image = torch.stack(
        [
            grid.sin() * grid[:, None],
            grid.expand(96, 96),
            -grid * 0 + 1 - grid[:, None].abs(),
        ]
    )[None]
    with torch.no_grad():
        x = published._swish(published._bn1(published._conv_head(ours(image)[-1])))
        logits = published._fc(x.mean((2, 3)))
        assert_close(logits, published(image), rtol=1e-4, atol=1e-4)
    assert logits.std() > 0.5  # no flat answer of random weights


def test_all_of_the_file_but_the_classifier_is_used(ours):
    weights = torch.load(find_package_weights(NAME), weights_only=True)
    left_out = {name.partition('.')[0] for name in weights if new_name(name) is None}
    assert left_out == {'_conv_head', '_bn1', '_fc'}
    assert backbone_weights(weights).keys() == ours.state_dict().keys()


@pytest.mark.parametrize('arch', ['lite1', 'lite2'])
def test_names_of_the_larger_ones(arch):
    reference = EfficientNet.from_name(f'efficientnet-{arch}')
    named = backbone_weights(reference.state_dict())
    EfficientNetLite(arch).load_state_dict(named)  # strict


def test_a_file_of_that_name_stays_a_file(tmp_path):
    path = tmp_path / f'{NAME}.pth'
    torch.save(dict(a=torch.ones(1)), path)
    assert CheckpointLoader.load_checkpoint(str(path)).keys() == {'a'}
