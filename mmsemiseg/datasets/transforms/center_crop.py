import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CenterCropEval(BaseTransform):
    """Crop the centre of image and mask, so that only this is evaluated.

    Place it after ``LoadAnnotations`` in the pipeline of validation or test data.

    Predictions have the size of the crop. An image smaller than the crop is padded on
    all sides, with ``pad_val`` in the image and ``seg_pad_val`` in the mask.

    Modified keys: img (H, W, 3), gt_seg_map (H, W) where there is one, img_shape,
    ori_shape, pad_shape.

    Args:
        crop_size: Size (height, width) of the crop in pixels.
        pad_val: Value of padded pixels of the image.
        seg_pad_val: Value of padded pixels of the mask, the ignored label.

    >>> import numpy as np
    >>> crop = CenterCropEval((2, 2))
    >>> mask = np.arange(16).reshape(4, 4)
    >>> crop(dict(img=np.zeros((4, 4, 3)), gt_seg_map=mask))['gt_seg_map']
    array([[ 5,  6],
           [ 9, 10]])
    """

    def __init__(
        self, crop_size: tuple[int, int], pad_val: int = 0, seg_pad_val: int = 255
    ) -> None:
        if len(crop_size) != 2 or min(crop_size) < 1:
            raise ValueError(
                'crop_size must be (height, width), both at least 1, '
                f'but got {crop_size}'
            )
        self.crop_size = tuple(crop_size)
        self.pad_val = pad_val
        self.seg_pad_val = seg_pad_val

    def transform(self, results: dict) -> dict:
        shape = results['img'].shape[:2]
        mask = results.get('gt_seg_map')
        if mask is not None and mask.shape != shape:
            raise ValueError(
                f'CenterCropEval needs image and mask of one size, but '
                f'{results.get("img_path")} is {shape} and its mask {mask.shape}: '
                'leave out the transform that resizes the image alone'
            )
        results['img'] = self._crop(results['img'], self.pad_val)
        if mask is not None:
            results['gt_seg_map'] = self._crop(mask, self.seg_pad_val)
        for key in ('img_shape', 'ori_shape', 'pad_shape'):
            results[key] = self.crop_size
        return results

    def _crop(self, array: np.ndarray, value: int) -> np.ndarray:
        for axis, size in enumerate(self.crop_size):
            spare = array.shape[axis] - size
            if spare >= 0:
                array = array.take(range(spare // 2, spare // 2 + size), axis)
            else:
                before = -spare // 2
                width = [(0, 0)] * array.ndim
                width[axis] = (before, -spare - before)
                array = np.pad(array, width, constant_values=value)
        return array

    def __repr__(self) -> str:
        return f'{type(self).__name__}(crop_size={self.crop_size})'
