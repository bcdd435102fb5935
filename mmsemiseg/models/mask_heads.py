"""Decode heads that classify masks: MaskFormer and Mask2Former."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ..functional import score_logits, semantic_scores
from .pixel_heads import HeadKind, check_layer
from .recording import heads_of, seen


class QueryOutput(NamedTuple):
    """Predictions of the queries of a head, by decoder layer, the last one last.

    Args:
        class_logits: Class logits (N, Q, C + 1) of each layer; the last class is "no
            object".
        mask_logits: Mask logits (N, Q, h, w) of each layer.
        features: Embeddings (N, D, h, w) of the pixels, which all layers share.
    """

    class_logits: tuple[Tensor, ...]
    mask_logits: tuple[Tensor, ...]
    features: Tensor

    def pixel_logits(self) -> Tensor:
        """Logits (N, C, h, w) of the pixels, by the last layer."""
        return score_logits(
            semantic_scores(self.class_logits[-1], self.mask_logits[-1])
        )


@dataclass(frozen=True)
class MaskRule(HeadKind):
    """A decode head that classifies masks: its queries have a class and a mask each.

    The logits are ``score_logits(semantic_scores(...))`` of the last decoder layer,
    at the resolution of the masks. There is no dropout in front of a classifier.

    Args:
        pixels: Path, inside the head, of the module whose first output has the
            embedding of each pixel, which masks are made of: the feature.
        embedding: Path of the layers that make a mask's embedding of a query.
        classifier: Path of the layer that classifies a query.
    """

    pixels: str = 'pixel_decoder'
    embedding: str = 'mask_embed'
    classifier: str = 'cls_embed'

    def check(self, segmentor: nn.Module) -> None:
        head = heads_of(segmentor)[-1]
        check_layer(head, self.pixels, 'for the embeddings of pixels')
        check_layer(head, self.embedding, 'for the embeddings of masks')
        check_layer(head, self.classifier, 'as its classifier')

    def decode(self, segmentor: nn.Module, maps, feature: bool, dropout: bool = True):
        head = heads_of(segmentor)[-1]
        with ExitStack() as stack:
            calls = stack.enter_context(self._record(head)) if feature else None
            output = self.queries(segmentor, maps)
        return self._read(head, output, calls)

    def query_output(self, segmentor: nn.Module, maps) -> QueryOutput:
        """Predictions of all decoder layers, with the embeddings of the pixels."""
        with self._record(heads_of(segmentor)[-1]) as calls:
            classes, masks = self.queries(segmentor, maps)
        return QueryOutput(tuple(classes), tuple(masks), calls[0])

    def queries(self, segmentor: nn.Module, maps) -> tuple:
        """Class logits and mask logits of all decoder layers, the last one last.

        (N, Q, C + 1) and (N, Q, h, w) of each layer. Attention sees the whole image,
        padding too.
        """
        size = tuple(maps[0].shape[2:])  # any size: all of it is image
        meta = dict(batch_input_shape=size, img_shape=size)
        samples = [SegDataSample(metainfo=meta) for _ in maps[0]]
        return seen(heads_of(segmentor)[-1])(maps, samples)

    def logits_of_prediction(self, prediction: Tensor) -> Tensor:
        """MMSegmentation's prediction has the scores."""
        return score_logits(prediction)

    def width(self, segmentor: nn.Module) -> int:
        layers = heads_of(segmentor)[-1].get_submodule(self.embedding)
        return layers[-1].out_features

    @contextmanager
    def _record(self, head: nn.Module) -> Iterator[list[Tensor]]:
        calls = []
        handle = head.get_submodule(self.pixels).register_forward_hook(
            lambda module, args, output: calls.append(output[0])
        )
        try:
            yield calls
        finally:
            handle.remove()

    def _read(self, head: nn.Module, output, calls: list | None):
        classes, masks = output
        logits = score_logits(semantic_scores(classes[-1], masks[-1]))
        return logits, None if calls is None else calls[0]
