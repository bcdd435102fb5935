"""Decode heads that classify pixels, and what the kinds of heads share."""

from contextlib import ExitStack
from dataclasses import dataclass

from torch import Tensor, nn

from .recording import (
    ended_before,
    heads_of,
    recorded_inputs,
    recorded_results,
    seen,
    without_dropout,
)


class HeadKind:
    """Base of the rules by which a kind of decode head gives logits and features.

    ``check`` refuses a segmentor that does not fit, ``decode`` turns the maps of
    ``extract_feat`` into (logits, features), ``features`` gives the latter alone,
    ``loss`` gives both beside the segmentor's own losses, ``width`` is the number of
    channels of the features. Features are None where ``feature`` is False.
    """

    def loss(
        self, segmentor: nn.Module, inputs: Tensor, samples: list, feature: bool
    ) -> tuple:
        """(losses of the segmentor, its maps, logits, features) of one pass."""
        head = heads_of(segmentor)[-1]
        with ExitStack() as stack:
            maps = stack.enter_context(recorded_results(segmentor, 'extract_feat'))
            outputs = stack.enter_context(recorded_results(head, 'forward'))
            calls = stack.enter_context(self._record(head)) if feature else None
            losses = segmentor.loss(inputs, samples)
        (maps,), (output,) = maps, outputs
        return losses, maps, *self._read(head, output, calls)

    def features(self, segmentor: nn.Module, maps) -> Tensor:
        """The features of ``decode`` alone."""
        return self.decode(segmentor, maps, True)[1]

    def logits_of_prediction(self, prediction: Tensor) -> Tensor:
        """What the segmentor's ``inference`` gives, as logits."""
        return prediction


@dataclass(frozen=True)
class HeadRule(HeadKind):
    """Where a decode head that classifies pixels keeps its logits and its features.

    Args:
        main: Index of the main logits where ``forward`` returns a list or tuple.
        classifier: Path, inside the head, of the layer whose input is the feature. A
            module ``dropout`` beside it that feeds it is looked through.
    """

    main: int = 0
    classifier: str = 'conv_seg'

    def check(self, segmentor: nn.Module) -> None:
        check_layer(heads_of(segmentor)[-1], self.classifier, 'as its classifier')

    def decode(self, segmentor: nn.Module, maps, feature: bool, dropout: bool = True):
        return self.run(heads_of(segmentor), maps, feature, dropout)

    def features(self, segmentor: nn.Module, maps) -> Tensor:
        """The features of ``decode`` alone; most heads end before their classifier."""
        if self != HeadRule():  # some of the others call a classifier several times
            return super().features(segmentor, maps)
        heads = heads_of(segmentor)
        with ended_before(heads[-1], self.classifier) as inputs:
            self.run(heads, maps, False, True)
        return inputs[0] if inputs else super().features(segmentor, maps)

    def run(self, heads: list, maps, feature: bool, dropout: bool):
        """(logits, features) of the last head, each of which reads the one before."""
        first, *later = heads
        head = heads[-1]
        with ExitStack() as stack:
            if not dropout:
                stack.enter_context(without_dropout(head, self.classifier))
            calls = stack.enter_context(self._record(head)) if feature else None
            output = seen(first)(maps)
            for cascaded in later:
                output = seen(cascaded)(maps, output)
        return self._read(head, output, calls)

    def width(self, segmentor: nn.Module) -> int:
        return self.width_of(heads_of(segmentor)[-1])

    def width_of(self, head: nn.Module) -> int:
        classifier = head.get_submodule(self.classifier)
        if isinstance(classifier, nn.Linear):
            return classifier.in_features
        return classifier.in_channels

    def _record(self, head: nn.Module):
        return recorded_inputs(head, self.classifier)

    def _read(self, head: nn.Module, output, calls: list | None):
        logits = output[self.main] if isinstance(output, (list, tuple)) else output
        return logits, None if calls is None else _features(head, calls, logits)


def check_layer(head: nn.Module, path: str, use: str) -> None:
    try:
        head.get_submodule(path)
    except AttributeError:
        raise ValueError(
            f'decode_head {type(head).__name__} has no layer {path!r}, which its rule '
            f'in HEAD_RULES names {use}'
        ) from None


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
