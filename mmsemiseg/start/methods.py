"""The methods that `start` trains, beside the baseline, and their settings."""

from typing import NamedTuple


class Method(NamedTuple):
    """A method as a config names it.

    ``settings`` are lines of ``model=dict(...)``, ``hooks`` those of ``custom_hooks``;
    ``best`` is the network whose best checkpoint is kept, and which predicts.
    """

    name: str
    folder: str
    about: str
    settings: tuple[str, ...]
    hooks: tuple[str, ...]
    best: str

    @property
    def uses_unlabeled(self) -> bool:
        return self.name != BASELINE.name


TEACHER = "dict(type='MeanTeacherHook', decay=0.99, warmup='1/(t+1)'),"

BASELINE = Method(
    'SupOnly', 'sup-only', 'the labels alone, to compare', (), (), 'student'
)
_ALL = (
    Method(
        'MeanTeacher',
        'mean-teacher',
        'a teacher, the moving average of the student, labels the unlabeled images',
        ('pseudo_loss=dict(threshold=0.7),', "mix=dict(type='CutMix'),"),
        (TEACHER,),
        'teacher',
    ),
    Method(
        'FixMatch',
        'fix-match',
        'the student labels the unlabeled images itself',
        ('pseudo_loss=dict(threshold=0.7),', "mix=dict(type='CutMix'),"),
        (),
        'student',
    ),
    Method(
        'CTT',
        'ctt',
        'two pairs of student and teacher, which teach each other',
        ('pseudo_loss=dict(weight=0.2),', "contrast=dict(ready='class'),"),
        (TEACHER, "dict(type='MemoryHook'),"),
        'student0',
    ),
    Method(
        'ESL',
        'esl',
        'a mean teacher with soft pseudo labels, and contrast of parts of classes',
        ("contrast=dict(projector=dict(type='ProjectionHead', channels=128)),",),
        (TEACHER, "dict(type='PrototypeInitHook'),"),
        'teacher',
    ),
)
METHODS = {method.name: method for method in _ALL}
DEFAULT = 'MeanTeacher'
