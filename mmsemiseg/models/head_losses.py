"""Losses of decode heads as a CPU computes them fast."""

import functools

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn

from ..functional import resize_logits

EPS = torch.finfo(torch.float32).eps


def speed_up_losses(network: nn.Module) -> None:
    """Let its decode heads compute their losses fast on a CPU.

    This holds for the heads that have the ``loss_by_feat`` of MMSegmentation's base
    class. There the interpolation of the logits and the search for the best classes
    (for ``acc_seg``) take several times as long as the cross entropy. The values differ
    by rounding: logits in half precision are interpolated in float32. Elsewhere than on
    a CPU nothing changes.
    """
    for head in network.modules():
        if isinstance(head, BaseDecodeHead) and not isinstance(head, _FastLoss):
            if type(head).loss_by_feat is BaseDecodeHead.loss_by_feat:
                head.__class__ = _fast_class(type(head))


class _FastLoss:
    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict:
        if seg_logits.device.type != 'cpu':
            return super().loss_by_feat(seg_logits, batch_data_samples)
        label = torch.stack([s.gt_sem_seg.data for s in batch_data_samples])
        logits = resize_logits(seg_logits, label.shape[2:], self.align_corners)
        weight = self.sampler and self.sampler.sample(logits, label)
        label = label.squeeze(1)
        several = isinstance(self.loss_decode, nn.ModuleList)
        losses = {}
        for loss in self.loss_decode if several else [self.loss_decode]:
            value = loss(logits, label, weight=weight, ignore_index=self.ignore_index)
            name = loss.loss_name
            losses[name] = losses[name] + value if name in losses else value
        losses['acc_seg'] = pixel_accuracy(logits, label, self.ignore_index)
        return losses


@torch.no_grad()
def pixel_accuracy(logits: Tensor, label: Tensor, ignore_index: int) -> Tensor:
    """Share (1,) in % of the labeled pixels whose class has the greatest logit.

    Args:
        logits: Logits (N, C, H, W).
        label: Labels (N, H, W).
        ignore_index: Label of the pixels that do not count.
    """
    labeled = label != ignore_index
    own = logits.gather(1, (label * labeled).clamp(0, logits.shape[1] - 1)[:, None])
    right = (own[:, 0] >= logits.amax(1)) & labeled & (label < logits.shape[1])
    return (100 * (right.sum() + EPS) / (labeled.sum() + EPS)).reshape(1)


@functools.cache
def _fast_class(kind: type) -> type:
    """The class of a head with the fast loss, which is named as that."""
    names = ('__module__', '__qualname__', '__doc__')
    return type(kind.__name__, (_FastLoss, kind), {n: getattr(kind, n) for n in names})
