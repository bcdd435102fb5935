from .center_crop import CenterCropEval
from .check_labels import CheckLabels
from .multi_view import MultiView, PackUnlabeledInputs, RecordValidity

__all__ = [
    'CenterCropEval',
    'CheckLabels',
    'MultiView',
    'PackUnlabeledInputs',
    'RecordValidity',
]
