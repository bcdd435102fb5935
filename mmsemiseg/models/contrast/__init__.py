from .base import Contrast, Pass

__all__ = ['Contrast', 'Pass']
