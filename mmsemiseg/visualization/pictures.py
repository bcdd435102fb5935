"""Pictures beside their classes."""

from pathlib import Path

import cv2
import numpy as np

YELLOW = (0, 255, 255)  # BGR


def legend(
    labels: list[np.ndarray], classes: list[str], palette: list, width: int
) -> np.ndarray:
    """(h, width, 3) BGR: colour and name of each class that the labels hold."""
    shown = np.unique(np.concatenate([np.unique(label) for label in labels]))
    font, scale, row = cv2.FONT_HERSHEY_SIMPLEX, 0.4, 18
    places, x, y = [], 4, 0
    for index in (i for i in shown if i < len(classes)):
        (length, _), _ = cv2.getTextSize(classes[index], font, scale, 1)
        if x > 4 and x + length + 28 > width:
            x, y = 4, y + row
        places.append((index, x, y))
        x += length + 28
    picture = np.full((y + row + 4, width, 3), 255, np.uint8)
    for index, x, y in places:
        colour = tuple(int(value) for value in palette[index][::-1])
        cv2.rectangle(picture, (x, y + 5), (x + 12, y + 17), colour, -1)
        start = (x + 17, y + 16)
        name = classes[index]
        cv2.putText(picture, name, start, font, scale, (0, 0, 0), 1, cv2.LINE_AA)
    return picture


def write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), picture):
        raise ValueError(f'cannot write the picture {path}')
