"""Semi-supervised semantic segmentation on MMSegmentation.

Importing the package registers its modules in MMSegmentation's registries.
"""

from .utils.quiet import quiet_imports
from .version import __version__

with quiet_imports():
    from . import datasets, engine, evaluation, functional, models

__all__ = ['__version__', 'datasets', 'engine', 'evaluation', 'functional', 'models']
