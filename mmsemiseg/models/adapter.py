"""Logits and features of any MMSegmentation segmentor.

The head's own code is not asked: hooks on the layer that classifies live for one
call only, so that nothing stays on the segmentor and a deep copy works as well.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import torch
from mmseg.models.utils import resize
from torch import Tensor, nn

from .head_rules import HEAD_RULES, HeadRule, check_channels, rule_of  # noqa: F401


class SegmentorOutput(NamedTuple):
    """``logits`` (N, C, h, w) and ``features`` (N, D, h', w'), or None if not asked."""

    logits: Tensor
    features: Tensor | None


class SegmentorAdapter:
    """Runs segmentors that are built like ``segmentor``: itself and its copies.

    Holds settings only; the segmentor to run is an argument of each call.

    Args:
        segmentor: An ``EncoderDecoder``, ``CascadeEncoderDecoder`` or subclass.
        feature: ``'pre_cls'``: what enters the classifier, before dropout;
            ``'stage4'`` or the index 3: the fourth map of ``extract_feat``;
            None: no features.

    Raises:
        TypeError: ``segmentor`` has no backbone-and-head structure.
        ValueError: The head is not known, has a single sigmoid output, or ``feature``
            is none of the above.
    """

    def __init__(self, segmentor: nn.Module, feature: str | int | None = 'pre_cls'):
        self.stage = _stage_index(feature)
        self.pre_cls = feature == 'pre_cls'
        head = _heads(segmentor)[-1]
        self.rule = rule_of(head)
        check_channels(head)

    def __call__(
        self, segmentor: nn.Module, inputs: Tensor, dropout: bool = True
    ) -> SegmentorOutput:
        """(N, 3, H, W) -> logits at the head's resolution, in the segmentor's mode.

        ``dropout=False`` switches off the dropout in front of the classifier, and no
        other: the logits are those of the features.
        """
        maps = segmentor.extract_feat(inputs)
        first, *later = _heads(segmentor)
        head = later[-1] if later else first
        with ExitStack() as stack:
            if not dropout:
                stack.enter_context(_without_dropout(head, self.rule.classifier))
            calls = None
            if self.pre_cls:
                calls = stack.enter_context(_record(head, self.rule.classifier))
            output = _seen(first)(maps)
            for cascaded in later:
                output = _seen(cascaded)(maps, output)
        return self._output(head, maps, output, calls)

    @property
    def classifies_features(self) -> bool:
        """Whether the features are all that the logits are made of."""
        return self.pre_cls and self.rule.classifier == 'conv_seg'

    def classify(
        self, segmentor: nn.Module, features: Tensor, dropout: bool = True
    ) -> Tensor:
        """Features (N, D, h, w), perhaps pooled, -> logits (N, C, h, w).

        By the dropout in front of the classifier, unless that is off, and by this.
        """
        head = _heads(segmentor)[-1]
        layer = _dropout(head, self.rule.classifier)
        if dropout and layer is not None:
            features = layer(features)
        return head.get_submodule(self.rule.classifier)(features)

    def loss(
        self, segmentor: nn.Module, inputs: Tensor, data_samples: list
    ) -> tuple[dict, SegmentorOutput]:
        """The segmentor's own losses, and the output of the same forward pass."""
        head = _heads(segmentor)[-1]
        with ExitStack() as stack:
            maps = stack.enter_context(_recorded(segmentor, 'extract_feat'))
            outputs = stack.enter_context(_recorded(head, 'forward'))
            calls = None
            if self.pre_cls:
                calls = stack.enter_context(_record(head, self.rule.classifier))
            losses = segmentor.loss(inputs, data_samples)
        (maps,), (output,) = maps, outputs
        return losses, self._output(head, maps, output, calls)

    def _output(self, head: nn.Module, maps, output, calls) -> SegmentorOutput:
        if isinstance(output, (list, tuple)):
            output = output[self.rule.main]
        if self.pre_cls:
            return SegmentorOutput(output, _features(head, calls, output))
        if self.stage is not None:
            return SegmentorOutput(output, _stage(maps, self.stage))
        return SegmentorOutput(output, None)

    @torch.no_grad()
    def inference(self, segmentor: nn.Module, inputs: Tensor) -> Tensor:
        """(N, 3, H, W) -> eval-mode logits (N, C, H, W), without gradient."""
        training = [m for m in segmentor.modules() if m.training]
        try:
            for module in training:
                module.training = False
            logits = self(segmentor, inputs).logits
        finally:
            for module in training:
                module.training = True
        align_corners = _heads(segmentor)[-1].align_corners
        return resize_logits(logits, inputs.shape[2:], align_corners)

    @torch.no_grad()
    def feature_channels(self, segmentor: nn.Module) -> int:
        """D of the features."""
        if self.pre_cls:
            head = _heads(segmentor)[-1]
            classifier = head.get_submodule(self.rule.classifier)
            if isinstance(classifier, nn.Linear):
                return classifier.in_features
            return classifier.in_channels
        training = [m for m in segmentor.modules() if m.training]
        segmentor.eval()
        maps = segmentor.extract_feat(torch.zeros(1, 3, 64, 64))
        for module in training:
            module.training = True
        return _stage(maps, self.stage).shape[1]


def resize_logits(logits: Tensor, size, align_corners: bool = False) -> Tensor:
    """(N, C, h, w) -> (N, C, *size), bilinear, as the heads do for loss and result.

    In fp32 where the logits are in half precision: losses and confidences are in fp32,
    and the small map is the cheaper one to convert.
    """
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return resize(logits, tuple(size), None, 'bilinear', align_corners, warning=False)


def _heads(segmentor: nn.Module) -> list[nn.Module]:
    head = getattr(segmentor, 'decode_head', None)
    if head is None or not hasattr(segmentor, 'extract_feat'):
        raise TypeError(
            'segmentor must be an EncoderDecoder or CascadeEncoderDecoder of '
            f'MMSegmentation, but got {type(segmentor).__name__}'
        )
    heads = list(head) if isinstance(head, nn.ModuleList) else [head]
    return [getattr(head, '_orig_mod', head) for head in heads]


def _seen(head: nn.Module) -> Callable:
    """A call of the head that hooks see.

    Code that ``torch.compile`` made of a head knows the hooks of the first call and no
    later ones. MMSegmentation's own losses and predictions run a head uncompiled too:
    they call its ``forward``.
    """
    compiled = getattr(head, '_compiled_call_impl', None) is not None
    return head.forward if compiled else head


def _stage_index(feature: str | int | None) -> int | None:
    if feature is None or feature == 'pre_cls':
        return None
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


def _dropout(head: nn.Module, path: str) -> nn.Module | None:
    """The one in front of the classifier."""
    dropout = getattr(head.get_submodule(path.rpartition('.')[0]), 'dropout', None)
    return dropout if isinstance(dropout, nn.Module) else None


@contextmanager
def _without_dropout(head: nn.Module, path: str) -> Iterator[None]:
    dropout = _dropout(head, path)
    training = dropout is not None and dropout.training
    try:
        if training:
            dropout.training = False
        yield
    finally:
        if training:
            dropout.training = True


@contextmanager
def _record(head: nn.Module, path: str) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect (input before dropout, output) of every call of the classifier."""
    calls, dropped = [], []

    def see_dropout(module, args, output):
        dropped[:] = [(args[0], output)]

    def see_classifier(module, args, output):
        before = [x for x, y in dropped if y is args[0]]
        calls.append((before[0] if before else args[0], output))

    handles = [head.get_submodule(path).register_forward_hook(see_classifier)]
    dropout = _dropout(head, path)
    if dropout is not None:
        handles.append(dropout.register_forward_hook(see_dropout))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _recorded(module: nn.Module, method: str) -> Iterator[list]:
    """Collect what each call of a method gives."""
    results = []
    original = getattr(module, method)
    before = vars(module).get(method)  # somebody else may have hidden it already

    def recording(*args, **kwargs):
        results.append(original(*args, **kwargs))
        return results[-1]

    setattr(module, method, recording)  # hides the method of the class
    try:
        yield results
    finally:
        delattr(module, method)
        if before is not None:
            setattr(module, method, before)


def _features(head: nn.Module, calls, logits: Tensor) -> Tensor:
    """The input of the call that gave the logits, else of the only call."""
    found = [x for x, y in calls if y is logits] or [x for x, _ in calls]
    if len(found) != 1:
        raise RuntimeError(
            f'{type(head).__name__}: {len(found)} calls of its classifier, none of '
            'which gave the main logits. Correct its rule in HEAD_RULES'
        )
    features = found[0]
    if features.dim() == 3:  # tokens (N, h * w, D) of a transformer head
        features = features.transpose(1, 2).unflatten(2, logits.shape[2:])
    return features
