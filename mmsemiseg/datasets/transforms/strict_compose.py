"""A pipeline that raises an error instead of drawing another image."""

from mmengine.dataset import Compose


class TransformError(ValueError):
    """A transform failed; names the transform and the image."""


class StrictCompose(Compose):
    """A pipeline that names the image when a transform fails or returns None.

    mmengine's own silently draws another image where a transform returns None.

    Raises:
        TransformError: A transform failed or returned None; where pipelines are nested,
            the innermost one raises it. It is a ``ValueError``.
    """

    def __call__(self, data: dict) -> dict:
        path = data.get('img_path')
        for transform in self.transforms:
            name = type(transform).__name__
            try:
                data = transform(data)
            except TransformError:
                raise
            except Exception as error:
                raise TransformError(
                    f"{name} failed on image '{path}': {error}"
                ) from error
            if data is None:
                raise TransformError(
                    f"{name} returned None for image '{path}'. A training stream "
                    'never replaces an image silently: drop the image from the '
                    'list, or the transform from the pipeline.'
                )
        return data
