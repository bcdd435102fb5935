"""The adapter and kinds of heads: those with a rule, and those that are refused."""

from pathlib import Path

import pytest
import torch
from torch import nn
from zoo import ALL, CLASSES, FCN, LAST, WIDTHS, ZOO, encoder_decoder
from zoo_models import build, images

from mmsemiseg.models.adapter import HEAD_RULES, HeadRule, SegmentorAdapter

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


class Frozen(nn.Module):
    """A segmentor around a head that MMSegmentation does not have."""

    def __init__(self, head):
        super().__init__()
        self.decode_head = head

    def extract_feat(self, inputs):
        return inputs


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


def test_single_output_channel_is_refused():
    head = {**FCN, 'num_classes': 2, 'out_channels': 1, 'threshold': 0.3}
    with pytest.raises(ValueError, match='out_channels=1.*set out_channels=2'):
        SegmentorAdapter(build(encoder_decoder(head)))
