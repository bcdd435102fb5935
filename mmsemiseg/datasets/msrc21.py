from mmseg.registry import DATASETS

from .folder import FolderSegDataset


@DATASETS.register_module()
class MSRC21Dataset(FolderSegDataset):
    """MSRC v2: everyday photographs with 21 classes; void is 255.

    Horse and mountain, of which there are few images, are void, as is usual. The
    colours are those of the data set. Layout of
    ``tools/dataset_converters/msrc21.py``: ``images/{train,val}`` and
    ``labels/{train,val}``.
    """

    METAINFO = dict(
        classes=(
            'building',
            'grass',
            'tree',
            'cow',
            'sheep',
            'sky',
            'aeroplane',
            'water',
            'face',
            'car',
            'bicycle',
            'flower',
            'sign',
            'bird',
            'book',
            'chair',
            'road',
            'cat',
            'dog',
            'body',
            'boat',
        ),
        palette=[
            [128, 0, 0],
            [0, 128, 0],
            [128, 128, 0],
            [0, 0, 128],
            [0, 128, 128],
            [128, 128, 128],
            [192, 0, 0],
            [64, 128, 0],
            [192, 128, 0],
            [64, 0, 128],
            [192, 0, 128],
            [64, 128, 128],
            [192, 128, 128],
            [0, 64, 0],
            [128, 64, 0],
            [0, 192, 0],
            [128, 64, 128],
            [0, 192, 128],
            [128, 192, 128],
            [64, 64, 0],
            [192, 64, 0],
        ],
    )
