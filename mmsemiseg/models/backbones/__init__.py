from .dilated_vgg import DilatedVGG
from .efficientnet_lite import EfficientNetLite

__all__ = ['DilatedVGG', 'EfficientNetLite']
