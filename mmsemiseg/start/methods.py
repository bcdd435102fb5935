"""The methods that `start` trains, beside the baseline, and their settings."""

from string import Template
from typing import NamedTuple

from .plan import STRIDE, Plan, decay_of, pseudo_labels_of


class Method(NamedTuple):
    """A method as a config names it, beside the baseline.

    ``best`` is the network whose best checkpoint is kept, and which predicts. The other
    texts are lines of the config: of ``model=dict(...)``, ``custom_hooks``, and
    ``train_dataloader=dict(...)``. In them :func:`filled` replaces ``$batch``,
    ``$workers``, ``$warmup``, ``$half`` of the iterations, ``$ramp``, the iterations
    until pseudo labels have their full weight, ``$decay`` of a teacher, and ``$cells``,
    the cells of a batch of crops at stride 8.

    ``own_settings`` and ``own_streams`` are for a network of the user's, of which
    nothing is known; None: the same. ``bases`` are more files of ``configs/_base_``.
    ``masks`` says that the default network is a MaskFormer, the baseline's too;
    ``balanced`` that its cross entropies take class weights.
    """

    name: str
    folder: str
    about: str
    best: str
    settings: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    streams: tuple[str, ...] = ('unlabeled={{_base_.unlabeled}},',)
    own_settings: tuple[str, ...] | None = None
    own_streams: tuple[str, ...] | None = None
    bases: tuple[str, ...] = ()
    masks: bool = False
    balanced: bool = False

    def lines(self, name: str, own: bool) -> tuple[str, ...]:
        """``settings`` or ``streams``, for a network of the user's or the default."""
        lines = getattr(self, f'own_{name}') if own else None
        return getattr(self, name) if lines is None else lines


def filled(lines: tuple[str, ...], plan: Plan) -> list[str]:
    """Lines of a method with the numbers of a plan.

    Steps that are measured have from the second on what begins late in a run.
    """
    height, width = plan.crop
    share, ramp = pseudo_labels_of(plan)
    numbers = dict(
        batch=plan.batch,
        workers=plan.workers,
        warmup=1 if plan.measuring else plan.warmup,
        half=1 if plan.measuring else max(1, plan.iterations // 2),
        share=f'{share:g}',
        ramp=ramp,
        cells=plan.batch * (height // 8) * (width // 8),
        decay=f'{decay_of(plan.iterations):g}',
    )
    return [Template(line).substitute(numbers) for line in lines]


TEACHER = "dict(type='MeanTeacherHook', decay=$decay, warmup='1/(t+1)'),"
ANNEALED = (
    "dict(type='MeanTeacherHook', decay=$decay, warmup='1/(t+1)', anneal='cosine'),"
)
MEMORY = "dict(type='MemoryHook'),"


def _unlabeled(*pipeline: str) -> tuple[str, ...]:
    """The unlabeled stream with a pipeline of its own."""
    return (
        'unlabeled=dict(',
        '    batch_size=$batch,',
        '    num_workers=$workers,',
        '    dataset=dict(',
        "        type='UnlabeledDataset',",
        '        images={{_base_.unlabeled_set.images}},',
        '        pipeline=[',
        '            {{_base_.load}},',
        *(f'            {line}' for line in pipeline),
        '        ],',
        '    ),',
        '),',
    )


def _overlap_crops(stride: int) -> tuple[str, ...]:
    return _unlabeled(
        'dict(',
        "    type='OverlapCrops',",
        '    crop_size={{_base_.crop_size}},',
        f'    stride={stride},',
        '    pad_val={{_base_.pad.pad_val.img}},',
        '    shared=[{{_base_.resize}}],',
        '    pipeline=[',
        '        {{_base_.flip}},',
        "        dict(type='GaussianBlur', kernel_size=5, prob=0.5),",
        "        dict(type='ColorJitter', brightness=0.4, contrast=0.4,",
        '             saturation=0.4, hue=0.1, prob=0.8),',
        "        dict(type='RandomGrayscale', prob=0.2, keep_channels=True,",
        '             channel_weights=(0.114, 0.587, 0.299)),',
        '    ],',
        '),',
    )


_PLAIN = "dict(type='Resize', scale={{_base_.scale}}, keep_ratio=True),"
_BALANCED_STREAMS = (
    'labeled=dict(dataset=dict(pipeline=[  # what else is done is the augmentation',
    '    {{_base_.load}},',
    '    {{_base_.load_masks}},',
    f'    {_PLAIN}',
    "    dict(type='RandomCrop', crop_size={{_base_.crop_size}}, cat_max_ratio=0.75),",
    '    {{_base_.pad}},',
    '    {{_base_.pack}},',
    '])),',
    *_unlabeled(
        "dict(type='RecordValidity'),",
        _PLAIN,
        '{{_base_.crop}},',
        '{{_base_.pad}},',
        "dict(type='PackUnlabeledInputs'),",
    ),
)


def _cmb(*more: str) -> tuple[str, ...]:
    return (
        'weak_augment={{_base_.weak_augment}},',
        'strong_augment={{_base_.strong_augment}},',
        'mix_start=$warmup,',
        "pseudo_loss=dict(ramp_up=dict(kind='exp', length=$warmup)),",
        'contrast=dict(start=$warmup, candidates=dict(start=$warmup)),',
        *more,
    )


BASELINE = Method(
    'SupOnly', 'sup-only', 'the labels alone, to compare', 'student', streams=()
)
_ALL = (
    Method(
        'MeanTeacher',
        'mean-teacher',
        'a teacher, the moving average of the student, labels the unlabeled images',
        'teacher',
        (
            'pseudo_loss=dict(',
            '    threshold=None,',
            '    class_share=$share,  # of each class, whatever its confidence',
            "    ramp_up=dict(kind='exp', length=$ramp),",
            '),',
            "mix=dict(type='CutMix'),",
        ),
        (TEACHER,),
    ),
    Method(
        'FixMatch',
        'fix-match',
        'the student labels the unlabeled images itself',
        'student',
        ('pseudo_loss=dict(threshold=0.7),', "mix=dict(type='CutMix'),"),
    ),
    Method(
        'CAC',
        'cac',
        'two overlapping crops of an unlabeled image must have the same features',
        'student',
        (
            'contrast=dict(',
            '    pool=2,',
            '    num_negatives=$cells,  # all cells of a batch',
            "    bank=dict(type='StepQueue', steps=1),",
            '    start=$warmup,',
            '),',
        ),
        (MEMORY,),
        _overlap_crops(8),
        own_settings=('contrast=dict(start=$warmup),',),
        own_streams=_overlap_crops(STRIDE),
    ),
    Method(
        'CMB',
        'cmb',
        'a mean teacher, and contrast with a bank of labeled features of each class',
        'student',
        _cmb('class_balance=dict(start=$warmup),'),
        (ANNEALED, MEMORY),
        _BALANCED_STREAMS,
        own_settings=_cmb(),
        bases=('augment/cmb.py',),
        balanced=True,
    ),
    Method(
        'CTT',
        'ctt',
        'two pairs of student and teacher, which teach each other',
        'student0',
        ('pseudo_loss=dict(weight=0.2),', "contrast=dict(ready='class'),"),
        (TEACHER, MEMORY),
    ),
    Method(
        'ESL',
        'esl',
        'a mean teacher with soft pseudo labels, and contrast of parts of classes',
        'teacher',
        ("contrast=dict(projector=dict(type='ProjectionHead', channels=128)),",),
        (TEACHER, "dict(type='PrototypeInitHook'),"),
    ),
    Method(
        'RC2L',
        'rc2l',
        'a MaskFormer whose masks must agree with the segments of its teacher',
        'teacher',
        (
            'segments=dict(min_area=4),',
            'alpha=0.2,',
            "ramp_up=dict(kind='step', length=$half),  # the labels alone before",
        ),
        (TEACHER,),
        masks=True,
    ),
)
METHODS = {method.name: method for method in _ALL}
DEFAULT = 'MeanTeacher'
