from mmseg.registry import DATASETS

from .folder import FolderSegDataset


@DATASETS.register_module()
class CamVidDataset(FolderSegDataset):
    """CamVid road scenes with 11 classes; void is 255.

    Layout of ``tools/dataset_converters/camvid.py``:
    ``images/{train,val,test}`` and ``labels/{train,val,test}``.
    """

    METAINFO = dict(
        classes=(
            'sky',
            'building',
            'pole',
            'road',
            'pavement',
            'tree',
            'sign symbol',
            'fence',
            'car',
            'pedestrian',
            'bicyclist',
        ),
        palette=[
            [128, 128, 128],
            [128, 0, 0],
            [192, 192, 128],
            [128, 64, 128],
            [60, 40, 222],
            [128, 128, 0],
            [192, 128, 128],
            [64, 64, 128],
            [64, 0, 128],
            [64, 64, 0],
            [0, 128, 192],
        ],
    )
