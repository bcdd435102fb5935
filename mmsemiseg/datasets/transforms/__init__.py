from .center_crop import CenterCropEval
from .check_labels import CheckLabels
from .labeled_crops import LabeledOverlapCrops
from .multi_view import MultiView, PackUnlabeledInputs, RecordValidity
from .overlap_crops import OverlapCrops
from .photometric import ColorJitter, GaussianBlur

__all__ = [
    'CenterCropEval',
    'CheckLabels',
    'ColorJitter',
    'GaussianBlur',
    'LabeledOverlapCrops',
    'MultiView',
    'OverlapCrops',
    'PackUnlabeledInputs',
    'RecordValidity',
]
