"""Photometric transforms of contrastive methods that mmcv and mmseg lack."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS


@TRANSFORMS.register_module()
class GaussianBlur(BaseTransform):
    """Blur an image by a Gaussian of fixed width, with some probability.

    Modified key: img (H, W, C), its type stays.

    Args:
        kernel_size: Side of the kernel in pixels, odd.
        sigma: Standard deviation in pixels; 0 takes the one that OpenCV derives from
            the kernel (1.1 for 5).
        prob: Probability of the blur.
    """

    def __init__(
        self, kernel_size: int = 5, sigma: float = 0, prob: float = 0.5
    ) -> None:
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f'kernel_size must be odd, but got {kernel_size}')
        if sigma < 0:
            raise ValueError(f'sigma must be at least 0, but got {sigma}')
        self.kernel_size = kernel_size
        self.sigma = sigma
        self.prob = _probability(prob)

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            size = (self.kernel_size, self.kernel_size)
            results['img'] = cv2.GaussianBlur(results['img'], size, self.sigma)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(kernel_size={self.kernel_size}, '
            f'sigma={self.sigma}, prob={self.prob})'
        )


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Change brightness, contrast, saturation and hue at random, in random order.

    It does what torchvision's ``ColorJitter`` does to 8-bit images. A factor, drawn
    uniformly from ``[max(0, 1 - x), 1 + x]``, blends the image with black (brightness),
    its mean grey (contrast) or a grey copy of itself (saturation). The hue is turned by
    a share of the colour circle, drawn from ``[-hue, hue]``.

    Modified key: img (H, W, 3), BGR uint8.

    Args:
        brightness: Largest change x >= 0 of the brightness factor; 0: no change.
        contrast: Largest change x >= 0 of the contrast factor; 0: no change.
        saturation: Largest change x >= 0 of the saturation factor; 0: no change.
        hue: Largest turn of the hue as a share of the colour circle, in [0, 0.5].
        prob: Probability of the whole transform.

    >>> import numpy as np
    >>> white = np.full((1, 1, 3), 255, np.uint8)
    >>> ColorJitter(hue=0.5, prob=1)(dict(img=white))['img'].ravel().tolist()
    [255, 255, 255]
    """

    def __init__(
        self,
        brightness: float = 0,
        contrast: float = 0,
        saturation: float = 0,
        hue: float = 0,
        prob: float = 0.8,
    ) -> None:
        limits = dict(brightness=brightness, contrast=contrast, saturation=saturation)
        for name, value in limits.items():
            if value < 0:
                raise ValueError(f'{name} must be at least 0, but got {value}')
        if not 0 <= hue <= 0.5:
            raise ValueError(f'hue must be in [0, 0.5], but got {hue}')
        self.limits = dict(**limits, hue=hue)
        self.prob = _probability(prob)

    def transform(self, results: dict) -> dict:
        image = results['img']
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
            raise ValueError(
                'ColorJitter needs an 8-bit image of 3 channels, but got '
                f'{image.dtype} {image.shape}'
            )
        if np.random.rand() < self.prob:
            for name in np.random.permutation(list(self.limits)):
                limit = self.limits[name]
                if limit:
                    low = -limit if name == 'hue' else max(0, 1 - limit)
                    high = limit if name == 'hue' else 1 + limit
                    image = _ADJUST[name](image, np.random.uniform(low, high))
            results['img'] = image
        return results

    def __repr__(self) -> str:
        limits = ', '.join(f'{name}={value}' for name, value in self.limits.items())
        return f'{type(self).__name__}({limits}, prob={self.prob})'


def _probability(prob: float) -> float:
    if not 0 <= prob <= 1:
        raise ValueError(f'prob must be in [0, 1], but got {prob}')
    return prob


def _brightness(image: np.ndarray, factor: float) -> np.ndarray:
    return cv2.LUT(image, _blend_table(0, factor))


def _contrast(image: np.ndarray, factor: float) -> np.ndarray:
    mean = round(cv2.mean(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))[0])
    return cv2.LUT(image, _blend_table(mean, factor))


def _blend_table(base: float, factor: float) -> np.ndarray:
    """Table (256,) uint8 of each value blended with the base."""
    values = base + factor * (np.arange(256) - base)
    return values.round().clip(0, 255).astype(np.uint8)


def _saturation(image: np.ndarray, factor: float) -> np.ndarray:
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    grey = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def _hue(image: np.ndarray, turn: float) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turn * 256) % 256)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


_ADJUST = dict(
    brightness=_brightness, contrast=_contrast, saturation=_saturation, hue=_hue
)
