from .bank_candidates import Candidates, LabeledCandidates
from .bank_contrast import BankContrast
from .base import Contrast, FeaturePart, Pass
from .cells import Cells
from .overlap_contrast import OverlapContrast
from .part_contrast import PartContrast
from .part_view import Parts, PartView
from .peer_contrast import PeerContrast

__all__ = [
    'BankContrast',
    'Candidates',
    'Cells',
    'Contrast',
    'FeaturePart',
    'LabeledCandidates',
    'OverlapContrast',
    'PartContrast',
    'PartView',
    'Parts',
    'Pass',
    'PeerContrast',
]
