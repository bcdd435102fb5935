"""Horizontal flip."""

from mmseg.registry import MODELS

from .image_op import ImageOp


@MODELS.register_module()
class BatchFlip(ImageOp):
    """Mirrors an image, left to right.

    Args:
        prob: Probability that an image is mirrored.
        per: Unit of the draw: ``'image'`` or ``'batch'``.
    """

    def apply(self, images, maps, context):
        return images.flip(-1), {name: value.flip(-1) for name, value in maps.items()}
