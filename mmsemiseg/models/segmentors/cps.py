"""CPS: students that label for each other, without teachers."""

from mmseg.registry import MODELS

from ..streams import Streams
from .ctt import CTT


@MODELS.register_module()
class CPS(CTT):
    """Cross pseudo supervision (Chen et al., CVPR 2021): mutual teaching.

    Each student learns the labels and the pseudo labels of the *other* students; there
    are no teachers. One forward pass of a student gives what it learns with and its
    pseudo labels for the others. Where images are mixed, or the views differ, it makes
    these in a second pass, in train mode and without gradient.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        num_pairs: Number n of students, at least 2.
        contrast: Component that compares features, such as ``dict(type='PeerContrast',
            keys_from='student')``; None: no contrast.
        settings: All other settings are those of :class:`CTT` but ``teaching`` and
            ``teacher``.
    """

    with_teacher = False

    def __init__(
        self,
        student: dict,
        num_pairs: int = 2,
        contrast: dict | None = None,
        **settings,
    ) -> None:
        for name in ('teaching', 'teacher'):
            if settings.get(name) is not None:
                raise ValueError(
                    f'CPS has no setting {name!r}, as students label for each other, '
                    f'but got {settings[name]!r}'
                )
        if num_pairs == 1:
            raise ValueError(
                'num_pairs of CPS must be an integer >= 2, as students label for each '
                'other, but got 1'
            )
        super().__init__(student, num_pairs, contrast=contrast, **settings)

    def step(self, streams: Streams) -> dict:
        self.pairs.check_distinct()
        if not self.learns_unlabeled:
            return self.supervised_loss(streams.labeled)
        weak, strong = streams.unlabeled(self.views)
        valid = weak.valid & strong.valid
        images, pseudo = strong.inputs, None
        one_pass = self.reads_pseudo and self.mix is None and weak is strong
        if not one_pass:
            pseudo = self.pseudo_labels(weak.inputs, valid)
            images, pseudo = self.mixed(images, pseudo)
        losses, passes = self.student_passes(streams.labeled, images)
        if one_pass:
            maps = [one.unlabeled.logits.detach() for one in passes]
            maps = [self.upsampled(logits, images) for logits in maps]
            pseudo = [self.pseudo_label(logits, valid) for logits in maps]
        return losses | self.unlabeled_losses(streams.labeled, passes, pseudo)
