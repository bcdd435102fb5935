"""Configs of CAC against its crops and its published start."""

import pytest
import torch
from config_files import PATHS, load, named, stem_of
from mmseg.registry import MODELS, TRANSFORMS

CAC = [path for path in PATHS if path.stem.startswith('cac')]


@pytest.mark.parametrize('path', CAC, ids=stem_of)
def test_cells_of_cac_fit_the_crops(path):
    cfg = load(path)
    cfg.model.student.backbone.init_cfg = None
    stream = cfg.train_dataloader.unlabeled
    crops = TRANSFORMS.build(stream.dataset.pipeline[-1])
    images = torch.empty(stream.batch_size, 3, *crops.crop_size, device='meta')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    features = model.adapter(model.student, images).features
    contrast = model.contrast
    height, width = (size // contrast.pool for size in features.shape[2:])
    assert (height * crops.stride, width * crops.stride) == crops.crop_size
    assert model.views == crops.views
    cells = stream.batch_size * height * width
    assert (contrast.num_negatives or cells) <= cells
    assert contrast.start < cfg.train_cfg.max_iters


def narrow(cfg):
    """The config's student with a narrow backbone: its head is that of the config."""
    student = cfg.model.student
    student.backbone.update(init_cfg=None, depth=50, base_channels=4)
    student.decode_head.update(in_channels=128)
    if 'c1_in_channels' in student.decode_head:
        student.decode_head.update(c1_in_channels=16)
    return student


@pytest.mark.parametrize(
    'stem',
    [
        'cac_deeplabv3plus-r50_cityscapes-1-8',
        'cac-paper_deeplabv3plus-r101_voc-aug-1-8',
        'sup-only_deeplabv3plus-r50_voc-aug-1-8',
        'cac_pspnet-r50_voc-aug-1-8',
    ],
)
def test_classifier_of_cac_is_as_published(stem):
    """Weights of Kaiming's deviation; MMSegmentation starts at 0.01."""
    cfg = named(stem)
    narrow(cfg)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    head = model.student.decode_head
    weight = head.conv_seg.weight  # thousands of numbers
    psp = 'pspnet' in stem
    assert weight.shape[1] == (512 if psp else 256)
    largest = weight.abs().max().item()
    if psp:  # uniform: PyTorch's own start, which is Kaiming's with a = sqrt(5)
        assert weight.std().item() == pytest.approx((3 * 512) ** -0.5, rel=0.05)
        assert largest <= 512**-0.5
        assert head.dropout is None
    else:  # normal
        deviation = (2 / 256) ** 0.5
        assert weight.std().item() == pytest.approx(deviation, rel=0.05)
        assert largest > 3 * deviation
        assert head.conv_seg.bias.eq(0).all()
        assert type(head.dropout) is torch.nn.Dropout and head.dropout.p == 0.1
    with torch.no_grad():
        first = head.bottleneck.conv.weight.std().item()
    assert first > 0.01  # the others stay as they were: not of a deviation of 0.01
