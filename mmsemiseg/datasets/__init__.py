from .camvid import CamVidDataset
from .checks import check_streams, leaf_datasets
from .folder import FolderSegDataset
from .pseudo_masks import PseudoMaskDataset
from .samplers import SampleIndex, StreamSampler
from .stream_dataset import StreamDataset
from .synthetic import SyntheticShapesDataset
from .tags import TagDataset
from .transforms import CheckLabels, MultiView, PackUnlabeledInputs, RecordValidity
from .unlabeled import UnlabeledDataset

__all__ = [
    'CamVidDataset',
    'CheckLabels',
    'FolderSegDataset',
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
    'leaf_datasets',
]
