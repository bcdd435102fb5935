from .base import Contrast, Pass
from .part_contrast import PartContrast, Parts, PartView

__all__ = ['Contrast', 'PartContrast', 'PartView', 'Parts', 'Pass']
