import pytest
import torch
import torch.nn.functional as F
from helpers import build, spread, student_cfg
from mmseg.structures import SegDataSample
from torch.testing import assert_close

from mmsemiseg.models import Batch

BACKBONE = student_cfg()['backbone']


def make(**settings):
    settings = dict(num_classes=4, **settings)
    model = build(dict(type='TagClassifier', backbone=BACKBONE, **settings))
    spread(model.backbone)
    torch.nn.init.normal_(model.classifier.weight)
    return model.eval()


def tagged(*tags, size=(32, 48)):
    return [
        SegDataSample(metainfo=dict(tags=list(tag), ori_shape=size)) for tag in tags
    ]


def images(number, size=(32, 48), seed=0):
    return torch.randn(number, 3, *size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize('background_label', [0, 2, None])
def test_loss_against_loops(background_label):
    model = make(background_label=background_label)
    tags = [(0, 1, 3), (), (2,)]
    inputs = images(3)
    losses = model(dict(labeled=Batch(inputs, tagged(*tags))), mode='loss')
    maps = model.backbone(inputs)[-1]
    classes = [c for c in range(4) if c != background_label]
    terms, hits = [], []
    for image, tag in enumerate(tags):
        for number, c in enumerate(classes):
            weight = model.classifier.weight[number, :, 0, 0]
            logit = (maps[image] * weight[:, None, None]).sum(0).mean()
            prob = logit.double().sigmoid()
            terms.append(-torch.log(prob if c in tag else 1 - prob))
            hits.append((logit > 0) == (c in tag))
    expected = torch.stack(terms).mean()
    assert_close(losses['loss_tags'].double(), expected, rtol=1e-5, atol=1e-6)
    assert losses['accuracy'].item() == pytest.approx(sum(hits).item() / len(hits))
    losses['loss_tags'].backward()
    assert model.classifier.weight.grad.any()
    assert model.backbone.layer1[0].conv1.weight.grad.any()


def test_masks_are_of_tagged_classes_at_the_original_size():
    model = make(foreground=0.5, background=0.1)
    with torch.no_grad():
        model.classifier.weight.abs_()  # every map has positive scores
    samples = tagged((1, 3), (), (2,), size=(50, 70))
    found = model.predict_as('cam', images(3), samples)
    values = [sample.pred_sem_seg.data.unique().tolist() for sample in found]
    assert all(sample.pred_sem_seg.data.shape == (1, 50, 70) for sample in found)
    assert set(values[0]) <= {0, 1, 3, 255} and {1, 3} & set(values[0])
    assert values[1] == [0]
    assert set(values[2]) <= {0, 2, 255} and 2 in values[2]


def test_maps_are_those_of_the_classifier():
    model = make()
    image, (sample,) = images(1), tagged((1, 2, 3))
    found = model.cam(image, sample)
    scores = model.scores(image).clamp_min(0)
    scores = F.interpolate(scores, size=(32, 48), mode='bilinear')[0]
    for c in range(3):
        highest = scores[c].max()
        expected = scores[c] / highest if highest > 0 else torch.zeros(32, 48)
        assert_close(found[0, c], expected.detach())


def test_mirrored_images_give_mirrored_maps():
    model = make(flip=True, scales=(0.5, 1.0, 1.5))
    image, (sample,) = images(1), tagged((1, 2, 3))
    found = model.cam(image, sample)
    assert_close(model.cam(image.flip(3), sample), found.flip(3), rtol=1e-3, atol=1e-4)
    assert found.amax((0, 2, 3)).max() == 1
    assert not torch.allclose(found, make().cam(image, sample), atol=1e-3)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(foreground=0.1, background=0.2), '0 <= background <= foreground'),
        (dict(scales=()), 'scales must be above 0'),
        (dict(scales=(1.0, 0.0)), 'scales must be above 0'),
        (dict(num_classes=1), 'must leave 1 to 254 classes'),
        (dict(num_classes=256), 'must leave 1 to 254 classes'),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='TagClassifier', backbone=BACKBONE, num_classes=4) | settings)
