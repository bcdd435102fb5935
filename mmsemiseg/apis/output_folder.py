"""The folder that predictions are written to, and what it says about them."""

import json
import os
from pathlib import Path

from ..engine.checkpoints import atomic_write

RECORD = 'predictions.json'


class OutputFolder:
    """A folder of predictions, which never gets into one of other content.

    ``predictions.json`` in it says of what checkpoint and images its content is. A
    folder that has something else, or predictions of another checkpoint or of other
    images, is refused.

    Args:
        path: Path of the folder.
        checkpoint: Path of the checkpoint.
        images: Folder of the images.

    Raises:
        ValueError: It is inside of the folder of the images, whose images would then
            be more with each run, or the other way round.
        FileExistsError: It has other content.
    """

    def __init__(self, path: str, checkpoint: str, images: str) -> None:
        self.path = Path(path)
        self.source = dict(
            checkpoint=os.path.realpath(checkpoint), images=os.path.realpath(images)
        )
        own, read = Path(os.path.realpath(path)), Path(self.source['images'])
        if own.is_relative_to(read) or read.is_relative_to(own):
            raise ValueError(f'--out {path} and the images in {images} must lie apart')
        if self.path.exists():
            self._check_content()

    def _check_content(self) -> None:
        if not self.path.is_dir():
            raise FileExistsError(f'--out {self.path} is a file')
        content = sorted(entry.name for entry in self.path.iterdir())
        if not content:
            return
        advice = 'Choose another folder, or remove it'
        if RECORD not in content:
            raise FileExistsError(
                f'--out {self.path} holds other content ({", ".join(content[:3])}'
                f'{", ..." * (len(content) > 3)}): predictions would mix with it. '
                f'{advice}'
            )
        try:
            record = json.loads((self.path / RECORD).read_text(encoding='utf-8'))
            other = [key for key, value in self.source.items() if record[key] != value]
        except (ValueError, KeyError, TypeError) as error:
            raise FileExistsError(
                f'--out {self.path}: {RECORD} there cannot be read. {advice}'
            ) from error
        if other:
            raise FileExistsError(
                f'--out {self.path} holds predictions of other {" and ".join(other)}: '
                f'{record[other[0]]}. {advice}'
            )

    def write_record(self, **content) -> None:
        """Say what is in the folder; at first before anything is."""
        with atomic_write(self.path / RECORD) as part:
            text = json.dumps({**self.source, **content}, indent=2, default=str)
            Path(part).write_text(f'{text}\n', encoding='utf-8')
