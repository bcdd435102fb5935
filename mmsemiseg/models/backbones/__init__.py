from .dilated_vgg import DilatedVGG
from .efficientnet_lite import EfficientNetLite
from .efficientnet_lite_weights import load_package_weights

__all__ = ['DilatedVGG', 'EfficientNetLite', 'load_package_weights']
