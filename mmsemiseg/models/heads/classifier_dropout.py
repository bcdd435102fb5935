"""Dropout in front of a head's classifier: of whole channels or of single elements."""

from mmseg.registry import MODELS
from torch import nn

from ...utils.settings import check_choices

DROPOUT_PER = ('channel', 'element')


def set_classifier_dropout(head: nn.Module, per: str) -> None:
    """Let ``head.dropout`` drop whole channels or single elements.

    A head of MMSegmentation drops whole channels of an image (``nn.Dropout2d``), so all
    pixels lose the same features. With dropout of single elements (``nn.Dropout``) each
    pixel loses other features, and the noise averages out over neighbours and over the
    image, which regularises less.

    Args:
        head: Decode head to change. Where its ``dropout_ratio`` is 0 nothing is
            dropped.
        per: Unit that is dropped: a ``'channel'``, which is MMSegmentation's own
            choice, or an ``'element'``.

    Raises:
        ValueError: ``per`` is something else, or the head has no such dropout.
    """
    check_choices(dropout_per=(per, DROPOUT_PER))
    if per == 'channel':
        return
    if not (hasattr(head, 'conv_seg') and hasattr(head, 'dropout')):
        raise ValueError(
            f'{type(head).__name__} has no dropout in front of a classifier conv_seg, '
            'which ElementDropoutHead and dropout_per change: use the type of the head '
            'itself (of a K-Net wrap its kernel_generate_head)'
        )
    if head.dropout is not None:
        head.dropout = nn.Dropout(head.dropout.p)


@MODELS.register_module(name='ElementDropoutHead')
def element_dropout_head(head: str, **settings) -> nn.Module:
    """Any head of MMSegmentation with element-wise dropout before the classifier.

    In a config ``type='PSPHead'`` becomes ``type='ElementDropoutHead',
    head='PSPHead'``; all else stays. What is built is the head itself. The heads of
    this package have a setting ``dropout_per`` for it.

    Args:
        head: Type of the head, as in a config of its own.
        settings: All other settings of the head.
    """
    built = MODELS.build(dict(settings, type=head))
    set_classifier_dropout(built, 'element')
    return built
