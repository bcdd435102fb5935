"""What the tools do with a trained model: predict a folder of images."""

from .checkpoint_config import checkpoint_config
from .config_text import parse_config_text
from .output_folder import OutputFolder
from .predict_folder import Outcome, Wanted, predict_folder
from .predictor import Prediction, Predictor

__all__ = [
    'OutputFolder',
    'Outcome',
    'Prediction',
    'Predictor',
    'Wanted',
    'checkpoint_config',
    'parse_config_text',
    'predict_folder',
]
