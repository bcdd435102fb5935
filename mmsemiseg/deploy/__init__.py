"""A network as a file that runs without MMSegmentation: ONNX, TorchScript."""

from .files import require_packages
from .graphs import Checked, Report, Settings, write_graphs
from .image_network import INPUTS, OUTPUTS, ImageNetwork

__all__ = [
    'INPUTS',
    'OUTPUTS',
    'Checked',
    'ImageNetwork',
    'Report',
    'Settings',
    'require_packages',
    'write_graphs',
]
