"""CAC: directional context-aware consistency."""

from mmseg.registry import MODELS
from torch import Tensor

from ...utils.settings import check_views
from ..contrast import OverlapContrast
from ..data_preprocessor import Batch
from ..streams import Streams
from .base import SemiSegmentor

CONTRAST = dict(type='OverlapContrast')


@MODELS.register_module()
class CAC(SemiSegmentor):
    """Directional context-aware consistency (Lai et al., CVPR 2021).

    Two overlapping crops of an unlabeled image show the same pixels in two contexts. In
    the overlap the embedding of the less confident crop is pulled to that of the more
    confident one, and pushed away from embeddings with other pseudo labels:

    ``loss = sup + contrast.weight * (l(1 -> 2) + l(2 -> 1))``

    ``sup`` is the student's own loss on the labeled images, and ``l(i -> j)`` that of
    the embeddings of crop i that learn from crop j.
    There is no teacher, and no hook is needed. The pipeline of the unlabeled stream
    ends with :class:`~mmsemiseg.datasets.transforms.OverlapCrops`, which makes the two
    crops.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        contrast: Settings of the :class:`OverlapContrast` of the two crops, and its
            ``feature``, the layer that is compared (see :class:`SegmentorAdapter`).
        views: Names of the two crops in the unlabeled stream.
        sup_weight: Weight of the supervised losses.
        data_preprocessor: Config of a :class:`SemiDataPreProcessor`. Left out, the one
            of the student's config is converted.
    """

    reads_streams = (('labeled', 'unlabeled'), ())

    def __init__(
        self,
        student: dict,
        contrast: dict = CONTRAST,
        views: tuple[str, str] = ('view1', 'view2'),
        sup_weight: float = 1.0,
        data_preprocessor: dict | None = None,
    ) -> None:
        check_views(views)
        if views[0] == views[1]:
            raise ValueError(f'views must be two different names, but got {views}')
        if contrast is None:
            raise ValueError(
                'model.contrast must be dict(type=..., ...): without it CAC is SupOnly'
            )
        super().__init__(
            student, sup_weight=sup_weight, data_preprocessor=data_preprocessor
        )
        self.contrast = self.build_part(
            'contrast', contrast, CONTRAST, base=OverlapContrast
        )
        self.views = tuple(views)

    def step(self, streams: Streams) -> dict:
        losses = self.supervised_loss(streams.labeled)
        consistency, _ = self.consistency(streams.views(self.views))
        return losses | consistency

    def consistency(self, crops: list[Batch]) -> tuple[dict, list[Tensor]]:
        """Losses of the contrast of two crops, and the features of each crop.

        Before iteration ``contrast.start`` there is no forward pass: the loss is 0, and
        the list of features is empty.
        """
        if self.iteration < self.contrast.start:
            return self.contrast.zero(crops[0].inputs), []
        features, cells = [], []
        for crop in crops:
            dropout = self.contrast.pseudo_dropout
            output = self.adapter(self.student, crop.inputs, dropout)
            features.append(output.features)
            cells.append(self.contrast.cells(self, crop, output))
        return self.contrast(self, crops, cells), features
