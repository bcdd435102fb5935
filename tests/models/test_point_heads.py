"""PointRend inside of the adapter; test_mask_heads.py has what it shares with masks."""

import pytest
import torch
from helpers import build
from op_heads import needs_ops, point_student
from torch.testing import assert_close

from mmsemiseg.models import SegmentorAdapter

pytestmark = needs_ops
SIZE = (64, 96)


def images(n=2):
    return torch.randn(n, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def test_points_are_corrected_as_in_a_prediction():
    net = build(point_student()).eval()
    logits, _ = SegmentorAdapter(net)(net, images())
    coarse = net.decode_head[0](net.extract_feat(images()))
    assert logits.shape[2:] == tuple(4 * side for side in coarse.shape[2:]) == SIZE
    assert_close(
        logits,
        net.inference(
            images(), [dict(img_shape=SIZE, pad_shape=SIZE, ori_shape=SIZE)] * 2
        ),
    )
    plain = torch.nn.functional.interpolate(coarse, SIZE, mode='bilinear')
    assert (logits != plain).any()


@pytest.mark.parametrize('name', ['subdivision_steps', 'scale_factor'])
def test_points_need_their_settings(name):
    cfg = point_student()
    del cfg.test_cfg[name]
    with pytest.raises(ValueError, match=rf'PointHead needs model.student.*\.{name}:'):
        SegmentorAdapter(build(cfg))


def test_points_need_a_head_before_them():
    net = build(point_student())
    net.decode_head = net.decode_head[1]
    with pytest.raises(ValueError, match='PointHead corrects the logits of a head bef'):
        SegmentorAdapter(net)


def test_points_need_logits_before_them():
    net = build(point_student())
    net.decode_head[0] = torch.nn.Identity()
    with pytest.raises(ValueError, match="Identity has no layer 'conv_seg'"):
        SegmentorAdapter(net)
