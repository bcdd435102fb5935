import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CheckLabels(BaseTransform):
    """Refuse a mask that has a value which is no class.

    A training stream has it directly after ``LoadAnnotations``, without being asked for
    it. Every value must be below ``num_classes`` or equal to ``ignore_index``, and the
    mask as large as the image. Each file is checked once in a process.

    Required keys: gt_seg_map (H, W), seg_map_path; img (H, W, 3) where there is one.

    Args:
        num_classes: Number of classes.
        ignore_index: Value of pixels without a label.

    Raises:
        ValueError: Names the file, the values, the number of pixels and the rule.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f'num_classes must be at least 1, but got {num_classes!r}')
        if not isinstance(ignore_index, int) or ignore_index < 0:
            raise ValueError(
                'ignore_index must be a value that a mask can hold (0 or more), '
                f'but got {ignore_index!r}'
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self._checked: set[str] = set()

    def transform(self, results: dict) -> dict:
        """Returns ``results`` unchanged."""
        path = results.get('seg_map_path')
        if path is None or path not in self._checked:
            self._check(results, path)
            if path is not None:
                self._checked.add(path)
        return results

    def _check(self, results: dict, path: str | None) -> None:
        mask = results['gt_seg_map']
        if mask.ndim != 2:
            raise ValueError(
                f'mask {path} must have one band of class indices, but has the shape '
                f'{mask.shape}; is it a picture in colours?'
            )
        image = results.get('img')
        if image is not None and image.shape[:2] != mask.shape:
            raise ValueError(
                f'mask {path} is {mask.shape[1]}x{mask.shape[0]} pixels, but the image '
                f'{results.get("img_path")} is {image.shape[1]}x{image.shape[0]}'
            )
        values, counts = np.unique(mask, return_counts=True)
        bad = (values >= self.num_classes) | (values < 0)
        bad &= values != self.ignore_index
        if bad.any():
            found = ', '.join(map(str, values[bad].tolist()[:10]))
            more = ', ...' if bad.sum() > 10 else ''
            raise ValueError(
                f'mask {path} has the values {found}{more} in {counts[bad].sum()} of '
                f'{mask.size} pixels; a value must be below '
                f'num_classes={self.num_classes} or ignore_index={self.ignore_index}. '
                'If label 0 is to be ignored set reduce_zero_label=True in the '
                'dataset; tools/check_data.py reports all masks'
            )

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_classes={self.num_classes}, '
            f'ignore_index={self.ignore_index})'
        )
