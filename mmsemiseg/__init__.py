"""Semi-supervised semantic segmentation on MMSegmentation.

Importing the package registers its modules in MMSegmentation's registries.
"""

from . import datasets, engine, evaluation, functional, models
from .version import __version__

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'functional', 'models']
