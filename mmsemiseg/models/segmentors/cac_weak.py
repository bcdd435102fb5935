"""CAC with image-level labels: a second classifier for coarse masks."""

from mmseg.registry import MODELS
from torch import Tensor

from ..data_preprocessor import Batch
from ..parts import build_part
from ..streams import Streams
from ..weak_classifier import WeakClassifier
from .cac import CAC

WEAK = dict(type='WeakClassifier')


@MODELS.register_module()
class CACWeak(CAC):
    """CAC that also learns coarse masks made of image labels (its paper's section 3.5).

    ``loss = CAC + weak.weight * ramp(t) * mean over crops of CE(C_w(f), mask)``

    ``CAC`` is the whole loss of that method, f the features of a crop, and CE the cross
    entropy. The crops are both of each image of ``weak.stream``, which may be the
    unlabeled stream itself. C_w is a second classifier, which reads the same features
    as the student's own and is not used in testing. ``contrast.start`` delays the
    contrast alone; ``weak.ramp_up`` is the ramp(t) of this loss.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        weak: Settings of the :class:`WeakClassifier` C_w, among them the stream whose
            images have coarse masks.
        cac: All other settings are those of :class:`CAC`.
    """

    def __init__(self, student: dict, weak: dict = WEAK, **cac) -> None:
        super().__init__(student, **cac)
        if weak is None:
            raise ValueError(
                'model.weak must be dict(type=..., ...): without it CACWeak is CAC'
            )
        self.weak = build_part(
            weak, 'model.weak', self, default=WEAK, base=WeakClassifier
        )

    @property
    def reads_streams(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        names = ('labeled', 'unlabeled', self.weak.stream)
        return tuple(dict.fromkeys(names)), ()

    def step(self, streams: Streams) -> dict:
        losses = self.supervised_loss(streams.labeled)
        crops = streams.views(self.views)
        consistency, features = self.consistency(crops)
        if self.weak.stream != 'unlabeled':
            crops, features = streams.batches(self.weak.stream), []
        masks = [_masks(crop) for crop in crops]
        if not features:  # not yet forwarded
            features = [
                self.adapter(self.student, crop.inputs).features for crop in crops
            ]
        weak = dict(loss_weak=self.weak(features, masks, self.iteration))
        return losses | consistency | weak


def _masks(batch: Batch) -> Tensor:
    """The masks of a batch, (N, H, W) int64."""
    missing = [s.img_path for s in batch.data_samples if 'gt_sem_seg' not in s]
    if missing:
        raise ValueError(
            f'CACWeak needs masks of weakly labeled images, but {missing[0]} comes '
            'without: see LabeledOverlapCrops and tools/cam_masks.py'
        )
    return batch.labels
