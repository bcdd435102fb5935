"""Pictures inside of a page."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

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


class Embedded(NamedTuple):
    """A picture as it stands in a page.

    Attributes:
        name: Name of its file.
        address: Address that holds its content.
        wide: Whether it is a row of pictures.
    """

    name: str
    address: str
    wide: bool


def embedded(file: Path) -> Embedded | None:
    """A picture for a page; None where it cannot be read."""
    picture = cv2.imread(str(file))
    if picture is None:
        return None
    wide = picture.shape[1] > 1.5 * picture.shape[0]
    scale = SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(
            picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
        )
    _, data = cv2.imencode('.jpg', picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    content = base64.b64encode(data.tobytes()).decode()
    return Embedded(file.name, f'data:image/jpeg;base64,{content}', wide)
