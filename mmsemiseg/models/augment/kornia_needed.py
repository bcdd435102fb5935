"""Colours and blur need kornia, which is an extra of the package."""


def require_kornia(name: str) -> None:
    """ImportError if kornia, which the operation ``name`` needs, is missing."""
    try:
        import kornia.color  # noqa: F401
        import kornia.filters  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{name} needs kornia, which cannot be imported ({error}): pip install '
            'kornia, the extra `augment` of mmsemiseg'
        ) from error
