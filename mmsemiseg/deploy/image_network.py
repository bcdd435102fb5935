"""From an image to its classes in one module, which can be traced."""

import copy
from collections.abc import Sequence

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ..utils.settings import check_choices
from .padding import traceable_padding
from .pooling import traceable_pooling
from .preparation import Preparation

INPUTS = ('image', 'tensor')
OUTPUTS = ('classes', 'logits')


class ImageNetwork(nn.Module):
    """A segmentor with what comes before and after it, as a function of tensors.

    Args:
        segmentor: Plain segmentor in eval mode; it is copied.
        steps: Transforms of the test pipeline.
        inputs: ``'image'``: RGB as bytes (N, H, W, 3), prepared as the test pipeline
            and the preprocessor do; ``'tensor'``: what the segmentor itself takes,
            (N, 3, H, W), normalised.
        outputs: ``'classes'``: (N, H, W) uint8; ``'logits'``: (N, C, H, W), scores
            where the head classifies masks.
        any_size: Whether a traced form takes images of other sizes too.

    Raises:
        ValueError: A setting, the pipeline or the segmentor does not allow it.
    """

    def __init__(
        self,
        segmentor: nn.Module,
        steps: Sequence = (),
        inputs: str = 'image',
        outputs: str = 'classes',
        any_size: bool = False,
    ) -> None:
        super().__init__()
        check_choices(inputs=(inputs, INPUTS), outputs=(outputs, OUTPUTS))
        if not hasattr(segmentor, 'inference'):
            raise ValueError(f'{type(segmentor).__name__} has no inference to write')
        test_cfg = segmentor.test_cfg or ConfigDict(mode='whole')
        if any_size and test_cfg.get('mode') == 'slide':
            raise ValueError(
                'the config predicts by windows, of which the size of the image says '
                'how many: name that size by --size'
            )
        self.segmentor = traceable_padding(traceable_pooling(copy.deepcopy(segmentor)))
        self.outputs, self.any_size = outputs, any_size
        head = getattr(segmentor, 'decode_head', None)
        self.threshold = getattr(head, 'threshold', None) or 0.5
        self.prepare = None
        if inputs == 'image':
            preprocessor = segmentor.data_preprocessor
            self.prepare = Preparation(steps, preprocessor, any_size)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Classes or logits at the size of the images."""
        logits = self.logits(images)
        if self.outputs == 'logits':
            return logits
        if logits.shape[1] == 1:
            return (logits[:, 0].sigmoid() > self.threshold).to(torch.uint8)
        return logits.argmax(1).to(torch.uint8)

    def logits(self, images: Tensor) -> Tensor:
        """(N, C, H, W): what the segmentor's prediction is made of."""
        if self.prepare is None:
            sides = images.shape[2:]
            sides = tuple(sides if self.any_size else map(int, sides))
            inputs, meta = images, dict(ori_shape=sides, img_shape=sides)
        else:
            inputs, meta = self.prepare(images)
        bottom, right = meta.pop('padding', (0, 0))
        metas = [dict(meta) for _ in range(len(images))]
        logits = self.segmentor.inference(inputs, metas)
        if 'pad_shape' in meta:
            height, width = logits.shape[2:]
            logits = logits[:, :, : height - bottom, : width - right]
        if self.prepare is None or not (self.prepare.resizes or 'pad_shape' in meta):
            return logits
        return interpolate(
            logits,
            size=meta['ori_shape'],
            mode='bilinear',
            align_corners=self.segmentor.align_corners,
        )
