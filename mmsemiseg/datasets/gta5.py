from mmseg.datasets import CityscapesDataset
from mmseg.registry import DATASETS

from .folder import FolderSegDataset

# The 34 labels of Cityscapes and GTA5's 34, a licence plate; 255: not a class
TRAIN_IDS = dict.fromkeys(range(35), 255)
TRAIN_IDS.update(
    (label, index)
    for index, label in enumerate(
        (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    )
)


@DATASETS.register_module()
class GTA5Dataset(FolderSegDataset):
    """Frames of the game GTA V with the 19 classes of Cityscapes.

    Layout as downloaded: ``images/*.png`` and ``labels/*.png`` of the same names, also
    in folders below. The label files hold the numbers 0 to 34 (palette or grey PNG); a
    number that is no class becomes 255. Labels in colours, or another number, are an
    error. Labels that hold the numbers of classes already are for ``FolderSegDataset``.
    """

    METAINFO = dict(CityscapesDataset.METAINFO)

    @classmethod
    def get_label_map(cls, new_classes=None) -> dict[int, int]:
        """Map of the numbers in the files to those of the classes, all or some."""
        chosen = super().get_label_map(new_classes) or {}
        return {label: chosen.get(index, index) for label, index in TRAIN_IDS.items()}

    def _update_palette(self) -> list:
        palette, classes = self._metainfo['palette'], self._metainfo['classes']
        if len(palette) == len(classes):
            return palette
        colors = dict(zip(self.METAINFO['classes'], palette, strict=True))
        return [colors[name] for name in classes]
