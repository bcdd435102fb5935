"""Pictures of predictions."""

import cv2
import numpy as np

IGNORE_INDEX = 255


def overlay(
    image: np.ndarray, label: np.ndarray, palette: list, alpha: float = 0.6
) -> np.ndarray:
    """Colour an image by its labels.

    Args:
        image: Image (H, W, 3) uint8, BGR.
        label: Class indices (H, W); 255 stays as it is.
        palette: RGB colour of each class.
        alpha: Opacity of the colour, in [0, 1].

    Returns:
        (H, W, 3) uint8, BGR.
    """
    colours = np.zeros((256, 3), np.float32)
    colours[: len(palette)] = np.asarray(palette, np.float32)[:, ::-1]
    share = np.where(label == IGNORE_INDEX, 0.0, alpha)[..., None]
    mixed = image * (1 - share) + colours[np.clip(label, 0, 255)] * share
    return mixed.round().astype(np.uint8)


def titled_row(pictures: dict[str, np.ndarray], height: int = 192) -> np.ndarray:
    """Pictures side by side at one height, each below its title."""
    columns = []
    for title, picture in pictures.items():
        width = round(picture.shape[1] * height / picture.shape[0])
        body = cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
        bar = np.full((24, width, 3), 255, np.uint8)
        font = cv2.FONT_HERSHEY_SIMPLEX
        cv2.putText(bar, title, (4, 17), font, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(np.vstack([bar, body]))
    return np.hstack(columns)
