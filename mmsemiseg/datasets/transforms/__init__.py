from .check_labels import CheckLabels
from .multi_view import MultiView, PackUnlabeledInputs, RecordValidity

__all__ = ['CheckLabels', 'MultiView', 'PackUnlabeledInputs', 'RecordValidity']
