from .camvid import CamVidDataset
from .ccp import CCPDataset
from .checks import check_streams, leaf_datasets
from .folder import FolderSegDataset
from .gta5 import GTA5Dataset
from .image_names import image_names
from .msrc21 import MSRC21Dataset
from .pseudo_masks import PseudoMaskDataset
from .samplers import SampleIndex, StreamSampler
from .stream_dataset import StreamDataset
from .synthetic import SyntheticShapesDataset
from .tags import TagDataset
from .transforms import CheckLabels, MultiView, PackUnlabeledInputs, RecordValidity
from .unlabeled import UnlabeledDataset

__all__ = [
    'CCPDataset',
    'CamVidDataset',
    'CheckLabels',
    'FolderSegDataset',
    'GTA5Dataset',
    'MSRC21Dataset',
    'MultiView',
    'PackUnlabeledInputs',
    'PseudoMaskDataset',
    'RecordValidity',
    'SampleIndex',
    'StreamDataset',
    'StreamSampler',
    'SyntheticShapesDataset',
    'TagDataset',
    'UnlabeledDataset',
    'check_streams',
    'image_names',
    'leaf_datasets',
]
