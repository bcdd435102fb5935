"""The supervised baseline inside the semi-supervised loop."""

from mmseg.registry import MODELS

from ..streams import Streams
from ..student import check_labels
from .base import SemiSegmentor


@MODELS.register_module()
class SupOnly(SemiSegmentor):
    """Supervised baseline: trains the student on the labeled stream alone.

    The baseline that a method has to beat: same loop, labeled batches and optimizer
    steps. An unlabeled stream in the config would be loaded but not used; leave it out.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        streams: Names of the labeled streams to learn from; their losses are summed.
            The second stage of self-training adds ``'pseudo'``.
        teacher: Settings of an EMA copy of the student, ``dict(mode=...,
            buffers=...)``, which :class:`Pair` explains and a ``MeanTeacherHook`` in
            ``custom_hooks`` updates; None: no copy.
        segmentor: All other settings, such as ``predict_with`` and
            ``data_preprocessor``, are those of :class:`SemiSegmentor`.
    """

    def __init__(
        self,
        student: dict,
        streams: tuple[str, ...] = ('labeled',),
        teacher: dict | None = None,
        **segmentor,
    ) -> None:
        super().__init__(student, teacher=teacher, **segmentor)
        if 'labeled' not in streams:
            raise ValueError(f"streams must contain 'labeled', but is {tuple(streams)}")
        self.extra_streams = tuple(name for name in streams if name != 'labeled')

    @property
    def learns_unlabeled(self) -> bool:
        """Whether a stream has pseudo masks, as in the second self-training stage."""
        return bool(self.extra_streams)

    @property
    def reads_streams(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return ('labeled', *self.extra_streams), ()

    def step(self, streams: Streams) -> dict:
        losses = self.supervised_loss(streams.labeled)
        for name in self.extra_streams:
            batch = streams[name]
            check_labels(self.student, batch.data_samples)
            for key, value in self.student.loss(*batch).items():
                losses[f'{name}.{key}'] = value
        return losses
