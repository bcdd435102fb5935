import cv2
import pytest
import torch
from helpers import build, spread, student_cfg
from mmcv.transforms import LoadImageFromFile, Resize
from mmengine.config import ConfigDict
from mmseg.datasets.transforms import PackSegInputs

from mmsemiseg.deploy.checks import agreement, picture
from mmsemiseg.deploy.image_network import ImageNetwork
from mmsemiseg.deploy.padding import SameConv2d
from mmsemiseg.deploy.pooling import MatrixPool2d

LOAD, PACK = LoadImageFromFile(), PackSegInputs()
COLOURS = dict(mean=[120.0, 110.0, 100.0], std=[60.0, 61.0, 62.0])


def segmentor(test_cfg=None, **preprocessor):
    settings = dict(type='SegDataPreProcessor', **COLOURS, **preprocessor)
    cfg = student_cfg(data_preprocessor=settings)
    cfg['test_cfg'] = ConfigDict(test_cfg or dict(mode='whole'))
    return spread(build(cfg)).eval()


def predicted(model, image, *steps):
    """Logits as MMSegmentation has them for the pixels of a file."""
    results = dict(img=image[..., ::-1].copy(), ori_shape=image.shape[:2])
    results['img_shape'] = results['ori_shape']
    for step in (*steps, PACK):
        results = step(results)
    data = dict(inputs=[results['inputs']], data_samples=[results['data_samples']])
    with torch.no_grad():
        return model.test_step(data)[0].seg_logits.data[None]


@pytest.mark.parametrize(
    'steps',
    [
        [],
        [Resize(scale=(48, 40), keep_ratio=True)],
        [Resize(scale=(48, 40))],
        [Resize(scale_factor=0.5)],
        [Resize(scale_factor=(1.5, 2.0))],
    ],
)
@pytest.mark.parametrize('swap', [False, True])
@pytest.mark.parametrize('padding', [None, dict(size_divisor=32), dict(size=(96, 99))])
def test_logits_are_those_of_the_prediction(steps, swap, padding):
    model = segmentor(bgr_to_rgb=swap, test_cfg=None)
    model.data_preprocessor.test_cfg = padding
    image = picture(34, 43)
    network = ImageNetwork(model, [LOAD, *steps, PACK], outputs='logits')
    with torch.no_grad():
        logits = network(torch.from_numpy(image)[None])
    expected = predicted(model, image, *steps)
    assert logits.shape == expected.shape
    if steps:  # OpenCV rounds to bytes
        assert agreement(logits.argmax(1).numpy(), expected).pixels > 0.97
    else:
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_windows():
    model = segmentor(dict(mode='slide', crop_size=(24, 24), stride=(16, 16)))
    image = picture(40, 50)
    network = ImageNetwork(model, [LOAD, PACK], outputs='logits')
    with torch.no_grad():
        logits = network(torch.from_numpy(image)[None])
    torch.testing.assert_close(logits, predicted(model, image), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r'by windows.*--size'):
        ImageNetwork(model, [LOAD, PACK], any_size=True)


def test_a_prepared_tensor_and_classes():
    model = segmentor()
    images = torch.randn(2, 3, 32, 40)
    network = ImageNetwork(model, inputs='tensor')
    with torch.no_grad():
        classes, logits = (
            network(images),
            model.encode_decode(images, [dict(img_shape=(32, 40))] * 2),
        )
    assert classes.dtype == torch.uint8 and classes.shape == (2, 32, 40)
    assert classes.long().equal(logits.argmax(1))


def test_a_single_channel():
    cfg = student_cfg(
        data_preprocessor=dict(type='SegDataPreProcessor', **COLOURS),
        decode_head=dict(
            num_classes=2,
            out_channels=1,
            threshold=0.3,
            loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=True),
        ),
    )
    model = spread(build(cfg)).eval()
    image = picture(40, 50)
    with torch.no_grad():
        classes = ImageNetwork(model, [LOAD, PACK])(torch.from_numpy(image)[None])
    probs = predicted(model, image)  # MMSegmentation gives them
    assert classes.bool().equal(probs[:, 0] > 0.3)
    assert 0 < classes.float().mean() < 1


def test_the_segmentor_stays_as_it_is():
    model = segmentor()
    model.backbone.pool = torch.nn.AdaptiveAvgPool2d(3)
    before = {name: type(part) for name, part in model.named_modules()}
    network = ImageNetwork(model, [LOAD, PACK])
    assert {name: type(part) for name, part in model.named_modules()} == before
    assert isinstance(network.segmentor.backbone.pool, MatrixPool2d)
    assert not network.training and not network.segmentor.training


def test_layers_of_an_efficientnet():
    cfg = student_cfg()
    cfg['backbone'] = dict(type='EfficientNetLite', out_indices=(1,))
    cfg['decode_head'].update(in_channels=24, in_index=0)
    network = ImageNetwork(build(cfg).eval(), inputs='tensor', outputs='logits')
    assert any(isinstance(part, SameConv2d) for part in network.modules())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(inputs='file'), r"inputs must be in \('image', 'tensor'\), but got 'fil"),
        (dict(outputs='probs'), r"outputs must be in \('classes', 'logits'\)"),
        (
            dict(steps=[LOAD, Resize(scale=(8, 8), interpolation='nearest')]),
            "interpolation 'nearest', not 'bilinear'. With --input tensor",
        ),
        (dict(steps=[LOAD, cv2.resize]), 'the test pipeline has a .*--input tensor'),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        ImageNetwork(segmentor(), **settings)


def test_other_preprocessors_and_models():
    model = segmentor()
    model.data_preprocessor.test_cfg = dict(size=(64, 64))
    network = ImageNetwork(model, [LOAD, PACK], any_size=True)
    with pytest.raises(ValueError, match=r'padded to \(64, 64\).*--size'):
        network(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    model.data_preprocessor = torch.nn.Identity()
    with pytest.raises(ValueError, match='preprocessor is a Identity'):
        ImageNetwork(model, [LOAD, PACK])
    with pytest.raises(ValueError, match='Conv2d has no inference'):
        ImageNetwork(torch.nn.Conv2d(3, 3, 1))
