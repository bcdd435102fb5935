"""Painted predictions as files, named as the label maps are."""

import inspect
import os

import mmcv
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.visualization import Visualizer
from mmseg.registry import HOOKS

from ...datasets.image_names import image_names
from ...datasets.transforms import CenterCropEval


@HOOKS.register_module()
class PaintedImagesHook(Hook):
    """Write each test image with its prediction, and its mask where it has one.

    ``tools/test.py --show-dir`` adds this hook. The picture of ``seq/0001.jpg`` is
    ``folder/seq/0001.png``: it keeps the sub-folder in which the data set found the
    image.

    Args:
        folder: Folder that the pictures are written to.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._names: dict[str, str] = {}

    def before_test(self, runner) -> None:
        self._names = image_names(runner.test_loop.dataloader.dataset)

    def after_test_iter(
        self, runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        visualizer = Visualizer.get_current_instance()
        # Without its decorator, which would paint the images of one process alone
        paint = inspect.unwrap(type(visualizer).add_datasample)
        for sample in outputs:
            name = self._names[sample.img_path]
            image = mmcv.imfrombytes(get(sample.img_path), channel_order='rgb')
            size = tuple(sample.pred_sem_seg.shape)
            if image.shape[:2] != size:  # the centre alone is evaluated
                image = CenterCropEval(size)(dict(img=image))['img']
            target = os.path.join(self.folder, f'{name}.png')
            paint(visualizer, name, image, data_sample=sample, out_file=target)
