from mmseg.registry import DATASETS

from .folder import FolderSegDataset


@DATASETS.register_module()
class CCPDataset(FolderSegDataset):
    """Clothing Co-Parsing: street-fashion photographs with 18 classes.

    The 59 classes of the source are merged, no pixel is void; the colours are the
    first 18 of PASCAL VOC. Layout of ``tools/dataset_converters/ccp.py``:
    ``images/{train,val,unlabeled}`` and ``labels/{train,val}``.
    """

    METAINFO = dict(
        classes=(
            'background',
            'skin',
            'hair',
            'hat',
            'eyewear',
            'scarf_tie',
            'top',
            'knitwear',
            'outerwear',
            'dress',
            'trousers',
            'shorts',
            'skirt',
            'legwear',
            'footwear',
            'bag',
            'belt',
            'accessories',
        ),
        palette=[
            [0, 0, 0],
            [128, 0, 0],
            [0, 128, 0],
            [128, 128, 0],
            [0, 0, 128],
            [128, 0, 128],
            [0, 128, 128],
            [128, 128, 128],
            [64, 0, 0],
            [192, 0, 0],
            [64, 128, 0],
            [192, 128, 0],
            [64, 0, 128],
            [192, 0, 128],
            [64, 128, 128],
            [192, 128, 128],
            [0, 64, 0],
            [128, 64, 0],
        ],
    )
