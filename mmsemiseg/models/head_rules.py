"""Which decode heads can be students, and where their logits and features are."""

from collections.abc import Mapping
from dataclasses import dataclass

from mmseg.registry import MODELS
from torch import nn


@dataclass(frozen=True)
class HeadRule:
    """Where a kind of decode head keeps its main logits and its features.

    Args:
        main: Index of the main logits where ``forward`` returns a list or tuple.
        classifier: Path, inside the head, of the layer whose input is the feature. A
            module ``dropout`` beside it that feeds it is looked through.
    """

    main: int = 0
    classifier: str = 'conv_seg'


_USUAL = (
    'ANNHead APCHead ASPPHead DAHead DDRHead DMHead DPTHead DeepLabV2Head EMAHead '
    'EncHead FCNHead FPNHead ISAHead LRASPPHead LightHamHead OCRHead PSAHead PSPHead '
    'SETRMLAHead SETRUPHead SegformerHead UPerHead'
)

# Class name -> rule; a subclass takes the rule of its nearest listed base.
HEAD_RULES: dict[str, HeadRule] = {
    **dict.fromkeys(_USUAL.split(), HeadRule()),
    'IterativeDecodeHead': HeadRule(-1, 'kernel_generate_head.conv_seg'),
    'PIDHead': HeadRule(1),
    'SegmenterMaskTransformerHead': HeadRule(classifier='patch_proj'),
}


def check_head_config(segmentor: Mapping) -> None:
    """Refuse a decode head that cannot be a student before anything is built.

    Building some of them first asks for packages or compiled operators, which would
    not help. What is not found in the registry is left to the build.

    Args:
        segmentor: Config of a segmentor.

    Raises:
        ValueError: The class of its (last) ``decode_head`` has no rule.
    """
    heads = segmentor.get('decode_head')
    head = heads[-1] if isinstance(heads, (list, tuple)) and heads else heads
    if not isinstance(head, Mapping):
        return
    kind = _registered(head.get('type'))
    if not isinstance(kind, type):  # ElementDropoutHead builds the type in 'head'
        kind = _registered(head.get('head'))
    if isinstance(kind, type):
        find_rule(kind)


def _registered(kind):
    return MODELS.get(kind) if isinstance(kind, str) else kind


def find_rule(head: type) -> HeadRule:
    """The rule of a class of heads, or of its nearest base.

    Raises:
        ValueError: There is none.
    """
    for base in head.__mro__:
        if base.__name__ in HEAD_RULES:
            return HEAD_RULES[base.__name__]
    raise ValueError(
        f'decode_head {head.__name__} is not supported: it is not known '
        'where its logits and features are. Supported, with their subclasses: '
        f'{", ".join(sorted(HEAD_RULES))}. For a head of your own that classifies '
        'pixels: `from mmsemiseg.models.adapter import HEAD_RULES, HeadRule; '
        f"HEAD_RULES['{head.__name__}'] = HeadRule(main=0, "
        "classifier='conv_seg')`, see docs/features.md"
    )


def rule_of(head: nn.Module) -> HeadRule:
    """The rule of a head, whose classifier is there.

    Raises:
        ValueError: It has no rule, or not the layer that its rule names.
    """
    rule = find_rule(type(head))
    try:
        head.get_submodule(rule.classifier)
    except AttributeError:
        raise ValueError(
            f'decode_head {type(head).__name__} has no layer {rule.classifier!r}, '
            'which its rule in HEAD_RULES names as its classifier'
        ) from None
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
