from .deeplabv2_head import DeepLabV2Head
from .deeplabv3plus_head import DeepLabV3PlusHead
from .projection_head import ProjectionHead, unit_length

__all__ = ['DeepLabV2Head', 'DeepLabV3PlusHead', 'ProjectionHead', 'unit_length']
