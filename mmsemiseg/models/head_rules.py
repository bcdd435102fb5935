"""Which decode heads can be students, and of which kind they are."""

import importlib
from collections.abc import Mapping

from mmseg.registry import MODELS
from torch import nn

from .mask_heads import MaskRule
from .pixel_heads import HeadRule
from .point_heads import PointRule
from .recording import heads_of

Rule = HeadRule | MaskRule | PointRule

_USUAL = (
    'ANNHead APCHead ASPPHead DAHead DDRHead DMHead DPTHead DeepLabV2Head EMAHead '
    'EncHead FCNHead FPNHead ISAHead LRASPPHead LightHamHead OCRHead PSAHead PSPHead '
    'SETRMLAHead SETRUPHead SegformerHead UPerHead'
)

# Class name -> rule; a subclass takes the rule of its nearest listed base.
HEAD_RULES: dict[str, Rule] = {
    **dict.fromkeys(_USUAL.split(), HeadRule()),
    'IterativeDecodeHead': HeadRule(-1, 'kernel_generate_head.conv_seg'),
    'Mask2FormerHead': MaskRule(),
    'MaskFormerHead': MaskRule(),
    'PIDHead': HeadRule(1),
    'PointHead': PointRule(),
    'SegmenterMaskTransformerHead': HeadRule(classifier='patch_proj'),
}
# Class name -> why a head of MMSegmentation cannot be a student.
REASONS = {
    'SideAdapterCLIPHead': (
        'SAN is no EncoderDecoder: its head reads the image, tokens of a frozen CLIP '
        'encoder and embeddings of class names, which only its own segmentor '
        '(MultimodalEncoderDecoder) hands over. Take Mask2FormerHead for a head that '
        'classifies masks'
    ),
    'VPDDepthHead': 'it estimates depth and has no classes',
}


def check_head_config(segmentor: Mapping) -> None:
    """Refuse a decode head that cannot be a student before anything is built.

    Building some of them first asks for packages or compiled operators, which would
    not help. What is not found in the registry is left to the build.

    Args:
        segmentor: Config of a segmentor.

    Raises:
        ValueError: The class of its (last) ``decode_head`` has no rule, or it needs
            mmdet, which is not there.
    """
    heads = segmentor.get('decode_head')
    head = heads[-1] if isinstance(heads, (list, tuple)) and heads else heads
    if not isinstance(head, Mapping):
        return
    kind = _registered(head.get('type'))
    if not isinstance(kind, type):  # ElementDropoutHead builds the type in 'head'
        kind = _registered(head.get('head'))
    if isinstance(kind, type) and isinstance(find_rule(kind), MaskRule):
        _check_mmdet(kind)


def _check_mmdet(head: type) -> None:
    """MMSegmentation's mask heads are mmdet's, or empty where it cannot be imported."""
    try:
        importlib.import_module('mmdet.models')
        if any(base.__module__.startswith('mmdet.') for base in head.__mro__):
            return
        reason = f'{head.__name__} was defined without it'
    except ImportError as error:
        reason = str(error)
    raise ValueError(
        f'decode_head {head.__name__} builds on mmdet, which cannot be imported '
        f'({reason}). Install mmdet and mmcv with its compiled operators (`make ops` '
        'in a clone of this package does so), see docs/compatibility.md'
    )


def _registered(kind):
    return MODELS.get(kind) if isinstance(kind, str) else kind


def find_rule(head: type) -> Rule:
    """The rule of a class of heads, or of its nearest base.

    Raises:
        ValueError: There is none.
    """
    for base in head.__mro__:
        if base.__name__ in HEAD_RULES:
            return HEAD_RULES[base.__name__]
        if base.__name__ in REASONS:
            raise ValueError(
                f'decode_head {head.__name__} is not supported: '
                f'{REASONS[base.__name__]}'
            )
    raise ValueError(
        f'decode_head {head.__name__} is not supported: it is not known '
        'where its logits and features are. Supported, with their subclasses: '
        f'{", ".join(sorted(HEAD_RULES))}. For a head of your own that classifies '
        'pixels: `from mmsemiseg.models.adapter import HEAD_RULES, HeadRule; '
        f"HEAD_RULES['{head.__name__}'] = HeadRule(main=0, "
        "classifier='conv_seg')`, see docs/features.md"
    )


def rule_of(segmentor: nn.Module) -> Rule:
    """The rule of the last decode head of a segmentor that it fits.

    Raises:
        TypeError: The segmentor has no backbone-and-head structure.
        ValueError: The head has no rule, or not the layers that its rule names.
    """
    rule = find_rule(type(heads_of(segmentor)[-1]))
    rule.check(segmentor)
    return rule


def check_channels(head: nn.Module) -> None:
    """Refuse a head with a single output channel: it has no pseudo labels.

    Raises:
        ValueError: ``out_channels=1``, which ``num_classes=1`` implies.
    """
    if getattr(head, 'out_channels', None) != 1:
        return
    name, classes = type(head).__name__, max(head.num_classes, 2)
    given = 'num_classes=1' if head.num_classes == 1 else 'out_channels=1'
    raise ValueError(
        f'{name} has {given}, one output channel, but pseudo labels need one channel '
        f'for each class, the background too: set out_channels={classes} and '
        f'num_classes={classes} (masks: 0 background, 1 foreground) in every head and '
        'a loss without use_sigmoid=True, and name both classes in metainfo.classes'
    )
