from .bank_contrast_head import BankContrastHead
from .class_attention import ClassAttention
from .classifier_dropout import element_dropout_head, set_classifier_dropout
from .conv_blocks import ConvBlocks, block_classifier_head
from .deeplabv2_head import DeepLabV2Head
from .deeplabv3plus_head import DeepLabV3PlusHead
from .masked_batch_norm import MaskedBatchNorm
from .mlp_head import MLPHead
from .projection_head import ProjectionHead, unit_length
from .split_head import SplitHead, split_head

__all__ = [
    'BankContrastHead',
    'ClassAttention',
    'ConvBlocks',
    'DeepLabV2Head',
    'DeepLabV3PlusHead',
    'MLPHead',
    'MaskedBatchNorm',
    'ProjectionHead',
    'SplitHead',
    'block_classifier_head',
    'element_dropout_head',
    'set_classifier_dropout',
    'split_head',
    'unit_length',
]
