from .base import SemiSegmentor
from .cac import CAC
from .cac_weak import CACWeak
from .cmb import CMB
from .cps import CPS
from .ctt import CTT
from .esl import ESL
from .fix_match import FixMatch
from .mean_teacher import MeanTeacher
from .pair import Pair
from .rc2l import RC2L
from .region_losses import RegionLosses
from .sup_only import SupOnly

__all__ = [
    'CAC',
    'CACWeak',
    'CMB',
    'CPS',
    'CTT',
    'ESL',
    'FixMatch',
    'MeanTeacher',
    'Pair',
    'RC2L',
    'RegionLosses',
    'SemiSegmentor',
    'SupOnly',
]
