"""Which classes are in an image, and class activation maps of where."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..functional import cam_masks, normalised_cam, resize_logits
from .data_preprocessor import Batch


@MODELS.register_module()
class TagClassifier(BaseModel):
    """A multi-label classifier whose class activation maps become pseudo masks.

    ``tools/cam_masks.py`` trains it. The network is a backbone, a 1x1 convolution
    without bias and the mean over the image; the loss is the binary cross entropy of
    each class. A data sample has ``tags``, the classes in its image; the background is
    no tag. The masks are made by :func:`~mmsemiseg.functional.cam_masks` at the image's
    original size, of the maps of the tagged classes alone.

    Args:
        backbone: Config of any backbone of MMSegmentation; its last map is taken.
        num_classes: Number of values of a mask, with the background.
        foreground: Activation above which a pixel gets the class of its strongest map.
        background: Activation below which a pixel gets the background.
        background_label: Label of the background; None where there is no such class.
        scales: Factors of the image size at which maps are computed; the maps are
            summed.
        flip: Whether the maps of the mirrored image are added too.
        data_preprocessor: Config of the data preprocessor of the images.
    """

    def __init__(
        self,
        backbone: dict,
        num_classes: int,
        foreground: float = 0.3,
        background: float = 0.05,
        background_label: int | None = 0,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor)
        if not scales or not all(scale > 0 for scale in scales):
            raise ValueError(f'scales must be above 0, at least one, but got {scales}')
        labels = [c for c in range(num_classes) if c != background_label]
        if not labels or not labels[-1] < 255:
            raise ValueError(
                'num_classes must leave 1 to 254 classes without the background, '
                f'but is {num_classes}'
            )
        self.backbone = MODELS.build(backbone)
        self.classifier = nn.Conv2d(self._channels(), len(labels), 1, bias=False)
        self.register_buffer('labels', torch.tensor(labels), persistent=False)
        self.thresholds = dict(
            foreground=foreground,
            background=background,
            background_label=background_label,
        )
        cam_masks(torch.zeros(1, len(labels), 1, 1), self.labels, **self.thresholds)
        self.scales = tuple(scales)
        self.flip = flip

    @torch.no_grad()
    def _channels(self) -> int:
        training = self.backbone.training
        self.backbone.eval()
        channels = self.backbone(torch.zeros(1, 3, 64, 64))[-1].shape[1]
        self.backbone.train(training)
        return channels

    def forward(
        self, inputs: Tensor, data_samples: list | None = None, mode: str = 'tensor'
    ):
        """Losses of images (N, 3, H, W); in other modes logits (N, C) of the tags."""
        if mode == 'loss':
            return self.loss(inputs['labeled'])
        return self.scores(inputs).mean((2, 3))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Mean over images and classes."""
        logits = self.scores(batch.inputs).mean((2, 3)).float()
        present = self.present(batch.data_samples)
        hit = ((logits > 0) == present).float().mean()
        loss = F.binary_cross_entropy_with_logits(logits, present.float())
        return dict(loss_tags=loss, accuracy=hit)

    def scores(self, images: Tensor) -> Tensor:
        """Class scores (N, C, h, w) of images (N, 3, H, W)."""
        return self.classifier(self.backbone(images)[-1])

    def present(self, data_samples: list) -> Tensor:
        """Tags (N, C) bool of the images."""
        tags = [torch.tensor(sample.tags, dtype=torch.int64) for sample in data_samples]
        labels = self.labels.cpu()
        found = torch.stack([torch.isin(labels, tag) for tag in tags])
        return found.to(self.labels.device)

    @torch.no_grad()
    def cam(self, image: Tensor, sample) -> Tensor:
        """Activations (1, C, h, w) in [0, 1] of an image, at its original size."""
        total = 0
        for scale in self.scales:
            size = [max(round(side * scale), 1) for side in image.shape[2:]]
            scaled = resize_logits(image, size)
            for mirrored in (False, True)[: 1 + self.flip]:
                scores = self.scores(scaled.flip(3) if mirrored else scaled).float()
                scores = (scores.flip(3) if mirrored else scores).clamp_min(0)
                total = total + resize_logits(scores, sample.ori_shape)
        return normalised_cam(total, self.present([sample]))

    def predict_as(self, name: str, inputs: Tensor, data_samples: list) -> list:
        """Data samples with ``pred_sem_seg``, the mask; ``name`` is not looked at."""
        for image, sample in zip(inputs, data_samples, strict=True):
            mask = cam_masks(
                self.cam(image[None], sample), self.labels, **self.thresholds
            )
            sample.pred_sem_seg = PixelData(data=mask)
        return data_samples
