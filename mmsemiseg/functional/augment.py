"""Scale and crop, colour jitter and blur of batches, each image by its own numbers.

The numbers are CPU tensors. Nothing waits for the device.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def scale_crop(
    images: Tensor,
    maps: dict[str, Tensor],
    fills: dict[str, float],
    scale: Tensor,
    place: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Enlarge or shrink each image by its scale, and crop or pad it to its size (H, W).

    Images are resized bilinearly, and maps with the same geometry by the nearest pixel.
    A scale above 1 shows a crop of the image, one below 1 the whole image and padding.
    The crop begins at ``place * (scale - 1)`` of the size: 0 is the top or left edge.

    Args:
        images: Images (N, C, H, W) float; padding becomes 0.
        maps: Maps (N, H, W) by name, of any type.
        fills: Value of each map on padding, by name.
        scale: Scale (N,) of each image, above 0, on the CPU.
        place: Place (2, N) of the window in [0, 1], vertical and horizontal, on the
            CPU.

    >>> image = torch.tensor([[1., 2.], [3., 4.]]).view(1, 1, 2, 2)
    >>> scale, place = torch.tensor([2.]), torch.zeros(2, 1)
    >>> scale_crop(image, {'x': image[0] > 1}, {'x': False}, scale, place)[1]['x']
    tensor([[[False, False],
             [False, False]]])
    """
    height, width = images.shape[2:]
    y, x = _sources(height, scale, place[0]), _sources(width, scale, place[1])
    outside = ~(_inside(y, height)[:, :, None] & _inside(x, width)[:, None])
    outside = outside.to(images.device, non_blocking=True)
    grid_y = (2 * y / height - 1).to(images.dtype).to(images.device, non_blocking=True)
    grid_x = (2 * x / width - 1).to(images.dtype).to(images.device, non_blocking=True)
    grid = torch.broadcast_tensors(grid_x[:, None], grid_y[:, :, None])
    scaled = F.grid_sample(
        images,
        torch.stack(grid, 3),
        mode='bilinear',
        padding_mode='border',
        align_corners=False,
    )
    row, column = _index(y, height, images.device), _index(x, width, images.device)
    image = torch.arange(len(images), device=images.device)[:, None, None]
    moved = {
        name: value[image, row[:, :, None], column[:, None]].masked_fill(
            outside, fills[name]
        )
        for name, value in maps.items()
    }
    return scaled.masked_fill(outside[:, None], 0), moved


def color_jitter(images: Tensor, changes: dict[str, Tensor]) -> Tensor:
    """Change the colours of RGB images in [0, 1], in the order of ``changes``.

    ``brightness`` is added, ``1 + contrast`` multiplies, ``1 + saturation`` multiplies
    S of HSV; each clamps to [0, 1]. ``hue`` turns H, 1 is the whole circle. This is
    kornia's ``ColorJiggle``. Needs kornia.

    Args:
        images: RGB images (N, 3, H, W) in [0, 1].
        changes: Strength (N,) of each change by name, on the CPU or the device.
    """
    from kornia.enhance import adjust_hue

    for name, change in changes.items():
        change = change.view(-1, 1, 1, 1).to(images.device, non_blocking=True)
        if name == 'brightness':
            images = (images + change).clamp(0, 1)
        elif name == 'contrast':
            images = (images * (1 + change)).clamp(0, 1)
        elif name == 'saturation':
            value = images.amax(1, keepdim=True)
            spread = value - images.amin(1, keepdim=True)
            factor = (1 + change).minimum(value / spread.clamp_min(1e-12))
            images = value - (value - images) * factor
        else:
            images = adjust_hue(images, 2 * math.pi * change)
    return images


def gaussian_blur(images: Tensor, sigmas: Tensor, kernel_size: int) -> Tensor:
    """Blur each image by its own Gaussian, its border reflected. Needs kornia.

    Args:
        images: Images (N, C, H, W) float.
        sigmas: Standard deviations (2, N) in pixels, above 0, vertical and horizontal,
            on the CPU.
        kernel_size: Odd side of the kernel; 2 * size - 1 at most is used, as reflection
            adds at most size - 1 pixels on either side.
    """
    from kornia.filters import filter2d_separable, get_gaussian_kernel1d

    y, x = (
        get_gaussian_kernel1d(min(kernel_size, 2 * size - 1), sigma[:, None])
        .to(images.dtype)
        .to(images.device, non_blocking=True)
        for size, sigma in zip(images.shape[2:], sigmas, strict=True)
    )
    return filter2d_separable(images, x, y, border_type='reflect')


def _sources(size: int, scale: Tensor, place: Tensor) -> Tensor:
    """Positions (N, size) float64 of the pixel centres in the image before.

    Its pixel i covers [i, i + 1).
    """
    scale, place = scale.double()[:, None], place.double()[:, None]
    centres = torch.arange(size) + 0.5
    return (centres + place * (scale - 1) * size) / scale


def _inside(position: Tensor, size: int) -> Tensor:
    return (position >= 0) & (position < size)


def _index(position: Tensor, size: int, device: torch.device) -> Tensor:
    index = position.floor().long().clamp(0, size - 1)
    return index.to(device, non_blocking=True)
