"""Decode heads that classify points: PointRend."""

from dataclasses import dataclass

from torch import Tensor, nn

from .pixel_heads import HeadKind, HeadRule, check_layer
from .recording import heads_of, recorded_results


@dataclass(frozen=True)
class PointRule(HeadKind):
    """PointRend: the last head of a cascade corrects the least certain points.

    The logits are those of MMSegmentation's prediction before it resizes them:
    the ones of the head before, upsampled and corrected in
    ``test_cfg.subdivision_steps`` steps. They have a gradient for both heads. Features
    are those of the head before.

    Args:
        coarse: Where the head before keeps its logits and its features.
        classifier: Path, inside the last head, of the layer that classifies a point.
    """

    coarse: HeadRule = HeadRule()
    classifier: str = 'fc_seg'

    def check(self, segmentor: nn.Module) -> None:
        heads = heads_of(segmentor)
        name = type(heads[-1]).__name__
        if len(heads) < 2:
            raise ValueError(
                f'decode_head {name} corrects the logits of a head before it: take a '
                'CascadeEncoderDecoder, as the configs of PointRend do'
            )
        settings = ('subdivision_steps', 'subdivision_num_points', 'scale_factor')
        missing = [n for n in settings if n not in (segmentor.test_cfg or {})]
        if missing:
            raise ValueError(
                f'decode_head {name} needs model.student.test_cfg.{missing[0]}: pseudo '
                'labels are made as predictions are, with the points that test_cfg '
                'asks for (subdivision_steps=2, subdivision_num_points=8196, '
                'scale_factor=2 in the configs of PointRend)'
            )
        check_layer(heads[-1], self.classifier, 'as its classifier')
        check_layer(heads[-2], self.coarse.classifier, 'for the head before it')

    def decode(self, segmentor: nn.Module, maps, feature: bool, dropout: bool = True):
        *heads, points = heads_of(segmentor)
        coarse, features = self.coarse.run(heads, maps, feature, dropout)
        cfg = segmentor.test_cfg
        factor = cfg['scale_factor'] ** cfg['subdivision_steps']
        size = tuple(int(side * factor) for side in coarse.shape[2:])
        metas = [dict(img_shape=size, pad_shape=size)] * len(coarse)
        return points.predict(maps, coarse, metas, cfg), features

    def loss(
        self, segmentor: nn.Module, inputs: Tensor, samples: list, feature: bool
    ) -> tuple:
        """(losses of the segmentor, its maps, logits, features).

        While it trains the point head gives logits of points alone, so the heads run
        once more.
        """
        with recorded_results(segmentor, 'extract_feat') as results:
            losses = segmentor.loss(inputs, samples)
        (maps,) = results
        return losses, maps, *self.decode(segmentor, maps, feature)

    def width(self, segmentor: nn.Module) -> int:
        return self.coarse.width_of(heads_of(segmentor)[-2])
