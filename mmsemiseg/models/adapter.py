"""Logits and features of any MMSegmentation segmentor.

The code of the head is neither changed nor called in parts: forward hooks inside of it
record what is wanted. They live for one call only, so that nothing stays on the
segmentor and a deep copy works as well.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..functional import resize_logits
from ..utils.profiling import stage
from .head_rules import HEAD_RULES, HeadRule, check_channels, rule_of  # noqa: F401
from .mask_heads import MaskRule, QueryOutput
from .recording import dropout_before, heads_of
from .student import check_labels

Feature = str | int | None


class SegmentorOutput(NamedTuple):
    """Logits of the pixels, and the features that were asked for.

    Attributes:
        logits: Logits (N, C, h, w) of the decode head, at its resolution.
        features: Features (N, D, h', w') of the layer ``feature``; a tuple where
            ``feature`` names several; None where it is None.
    """

    logits: Tensor
    features: Tensor | tuple[Tensor, ...] | None


class SegmentorAdapter:
    """Runs segmentors that are built like ``segmentor``: itself and its copies.

    It holds settings only; the segmentor to run is an argument of each call.

    Args:
        segmentor: An ``EncoderDecoder``, ``CascadeEncoderDecoder`` or subclass.
        feature: Layer whose output is returned as features. ``'pre_cls'``: what enters
            the classifier of the decode head, before dropout. ``'stage4'``, or the
            index 3: the fourth map of ``extract_feat``, and so on. A list or tuple of
            these: several features. None: no features.

    Raises:
        TypeError: ``segmentor`` has no backbone-and-head structure.
        ValueError: The head is not known, has a single sigmoid output, or ``feature``
            is none of the above.
    """

    def __init__(
        self,
        segmentor: nn.Module,
        feature: Feature | list[Feature] | tuple[Feature, ...] = 'pre_cls',
    ):
        self.several = isinstance(feature, (list, tuple))
        if self.several and not feature:
            raise ValueError(
                f'feature must name at least one layer, or be None, but got {feature!r}'
            )
        self.taps = [_tap(one) for one in (feature if self.several else [feature])]
        if self.several and None in self.taps:
            raise ValueError(f'feature must not have None among others: {feature!r}')
        self.pre_cls = 'pre_cls' in self.taps
        self.rule = rule_of(segmentor)
        check_channels(heads_of(segmentor)[-1])

    def __call__(
        self, segmentor: nn.Module, inputs: Tensor, dropout: bool = True
    ) -> SegmentorOutput:
        """Images (N, 3, H, W) -> logits at the head's resolution, and features.

        The segmentor runs in the mode that it is in. ``dropout=False`` switches off the
        dropout in front of the classifier, and no other, so that the logits follow from
        the features.
        """
        return self.decode(segmentor, self.encode(segmentor, inputs), dropout)

    def encode(self, segmentor: nn.Module, inputs: Tensor):
        """Images (N, 3, H, W) -> maps of backbone and neck, as of ``extract_feat``."""
        with stage(_pass_name()):
            return segmentor.extract_feat(inputs)

    def decode(
        self, segmentor: nn.Module, maps, dropout: bool = True
    ) -> SegmentorOutput:
        """Maps of :meth:`encode`, perhaps perturbed -> logits and features."""
        with stage(_pass_name()):
            output = self.rule.decode(segmentor, maps, self.pre_cls, dropout)
        return self._output(maps, *output)

    def features(
        self, segmentor: nn.Module, inputs: Tensor, only: int | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """(N, 3, H, W) -> the features of a call, without what logits alone need.

        Args:
            only: Place, among several layers, of the one whose features are taken;
                None: all of them.
        """
        taps = self.taps if only is None else [self.taps[only]]
        maps, pre_cls = self.encode(segmentor, inputs), None
        if 'pre_cls' in taps:
            with stage(_pass_name()):
                pre_cls = self.rule.features(segmentor, maps)
        found = [pre_cls if t == 'pre_cls' else _stage(maps, t) for t in taps]
        return tuple(found) if self.several and only is None else found[0]

    @property
    def has_queries(self) -> bool:
        """Whether the head classifies masks, so that :meth:`queries` is there."""
        return isinstance(self.rule, MaskRule)

    def queries(self, segmentor: nn.Module, inputs: Tensor) -> QueryOutput:
        """Images (N, 3, H, W) -> classes and masks of the queries of a mask head."""
        maps = self.encode(segmentor, inputs)
        with stage(_pass_name()):
            return self.rule.query_output(segmentor, maps)

    @property
    def classifies_features(self) -> bool:
        """Whether the features are all that the logits are made of."""
        linear = isinstance(self.rule, HeadRule) and self.rule.classifier == 'conv_seg'
        return linear and self.pre_cls and not self.several

    def classify(
        self, segmentor: nn.Module, features: Tensor, dropout: bool = True
    ) -> Tensor:
        """Features (N, D, h, w), perhaps pooled -> logits (N, C, h, w).

        The features go through the dropout in front of the classifier, unless
        ``dropout=False``, and through the classifier.
        """
        head = heads_of(segmentor)[-1]
        layer = dropout_before(head, self.rule.classifier)
        if dropout and layer is not None:
            features = layer(features)
        return head.get_submodule(self.rule.classifier)(features)

    @stage('supervised pass')
    def loss(
        self, segmentor: nn.Module, inputs: Tensor, data_samples: list
    ) -> tuple[dict, SegmentorOutput]:
        """The segmentor's own losses, and the output of the same forward pass."""
        check_labels(segmentor, data_samples)
        losses, *output = self.rule.loss(segmentor, inputs, data_samples, self.pre_cls)
        return losses, self._output(*output)

    def _output(self, maps, logits: Tensor, features) -> SegmentorOutput:
        if self.taps == [None]:
            return SegmentorOutput(logits, None)
        found = [features if t == 'pre_cls' else _stage(maps, t) for t in self.taps]
        return SegmentorOutput(logits, tuple(found) if self.several else found[0])

    @torch.no_grad()
    def inference(self, segmentor: nn.Module, inputs: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> logits (N, C, H, W) in eval mode, without gradient."""
        training = [m for m in segmentor.modules() if m.training]
        try:
            for module in training:
                module.training = False
            logits = self(segmentor, inputs).logits
        finally:
            for module in training:
                module.training = True
        align_corners = heads_of(segmentor)[-1].align_corners
        return resize_logits(logits, inputs.shape[2:], align_corners)

    @torch.no_grad()
    def feature_channels(self, segmentor: nn.Module) -> int | tuple[int, ...]:
        """Number of channels D of the features; a tuple where there are several."""
        maps = None
        if self.taps != ['pre_cls']:
            training = [m for m in segmentor.modules() if m.training]
            segmentor.eval()
            maps = segmentor.extract_feat(torch.zeros(1, 3, 64, 64))
            for module in training:
                module.training = True
        widths = tuple(
            self.rule.width(segmentor) if t == 'pre_cls' else _stage(maps, t).shape[1]
            for t in self.taps
        )
        return widths if self.several else widths[0]


def _pass_name() -> str:
    return 'student pass' if torch.is_grad_enabled() else 'pass without gradient'


def _tap(feature: Feature) -> Feature:
    """``'pre_cls'``, None or the index of a map."""
    if feature is None or feature == 'pre_cls':
        return feature
    if isinstance(feature, int) and not isinstance(feature, bool):
        return feature
    if isinstance(feature, str) and feature.startswith('stage'):
        number = feature.removeprefix('stage')
        if number.isdecimal() and int(number) > 0:
            return int(number) - 1
    raise ValueError(
        "feature must be 'pre_cls', 'stage<number from 1>', an index or None, "
        f'but got {feature!r}'
    )


def _stage(maps, index: int) -> Tensor:
    maps = maps if isinstance(maps, (list, tuple)) else [maps]
    kinds = [type(x).__name__ for x in maps]
    if -len(maps) <= index < len(maps) and kinds[index] == 'Tensor':
        return maps[index]
    raise ValueError(
        f'feature index {index} (stage{index + 1}) must be a map of extract_feat, '
        f'which gives {kinds}'
    )
