from .center_crop import CenterCropEval
from .check_labels import CheckLabels
from .multi_view import MultiView, PackUnlabeledInputs, RecordValidity
from .overlap_crops import OverlapCrops
from .photometric import ColorJitter, GaussianBlur

__all__ = [
    'CenterCropEval',
    'CheckLabels',
    'ColorJitter',
    'GaussianBlur',
    'MultiView',
    'OverlapCrops',
    'PackUnlabeledInputs',
    'RecordValidity',
]
