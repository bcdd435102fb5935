"""Pictures inside of a page."""

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2

SIDE = 960  # pixels of the longer side at most


def chosen(files: Sequence[Path], limit: int) -> list[Path]:
    """At most ``limit`` of the files, evenly spaced.

    >>> chosen(list('abcdef'), 3)
    ['a', 'c', 'e']
    """
    step = max(1, len(files) / limit)
    places = [int(number * step) for number in range(min(limit, len(files)))]
    return [files[place] for place in places]


def data_address(file: Path) -> str | None:
    """A picture as an address that holds it; None where it cannot be read."""
    picture = cv2.imread(str(file))
    if picture is None:
        return None
    scale = SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(
            picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
    _, data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return f'data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'
