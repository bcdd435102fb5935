"""What the user asks for, and what is said in return."""

import dataclasses
import os
from collections.abc import Callable, Iterable

from .methods import BASELINE, DEFAULT, METHODS, Method

Say = Callable[[str], None]
"""Function that prints a line."""


@dataclasses.dataclass
class Options:
    """The settings of one start; None lets it choose.

    Args:
        images: Folder of images.
        masks: Folder of masks; None: they are in that of the images.
        unlabeled: Folders of more images.
        val: Folder of validation images and masks, or one of each; empty: a share
            ``val_share`` of the images with masks.
        out: Folder that everything is written to.
        method: Name of the method in ``METHODS``.
        hours: Time from the command to the table.
        seed: Seed of the split and of the runs.
        classes: Class file.
        ignore: Values of masks that are no class.
        labels: Number of labels that are used.
        student: Config of the network, with weights ``pretrained``.
        from_scratch: Whether the network begins with random weights.
        scale: Long side of the resized images.
        crop: Height and width that training images are cropped to.
        batch: Labeled images of a batch, and as many unlabeled ones.
        iterations: Length of each run.
        rate: Learning rate.
        precision: 'fp32', 'bf16' or 'fp16'.

    Raises:
        ValueError: A value cannot be.
    """

    images: str = ''
    masks: str | None = None
    unlabeled: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    out: str = 'work_dirs/start'
    method: str = DEFAULT
    hours: float | None = None
    seed: int = 0
    classes: str | None = None
    ignore: tuple[str, ...] | None = None
    labels: int | None = None
    val_share: float = 0.2
    student: str | None = None
    pretrained: str | None = None
    from_scratch: bool = False
    scale: int | None = None
    crop: tuple[int, int] | None = None
    batch: int | None = None
    iterations: int | None = None
    rate: float | None = None
    precision: str | None = None

    def __post_init__(self) -> None:
        for name in ('unlabeled', 'val', 'ignore', 'crop'):
            value = getattr(self, name)
            setattr(self, name, None if value is None else tuple(value))
        for name in ('hours', 'scale', 'iterations', 'rate'):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f'--{name} must be above 0, but got {value}')
        if self.batch is not None and self.batch < 2:
            raise ValueError(
                f'--batch must be at least 2, as BatchNorm needs two images, but got '
                f'{self.batch}'
            )
        if self.crop and min(self.crop) < 32:
            raise ValueError(f'--crop must be at least 32, but got {self.crop}')
        if not 0 < self.val_share < 1:
            raise ValueError(
                f'--val-share must be above 0 and below 1, but got {self.val_share}'
            )
        if self.method not in METHODS:
            raise ValueError(
                f'--method must be one of {", ".join(METHODS)}, but got {self.method!r}'
            )
        if self.pretrained and not self.student:
            raise ValueError(
                '--pretrained is for a network of your own: give --student, too'
            )
        if self.pretrained and self.from_scratch:
            raise ValueError('--pretrained and --from-scratch exclude each other')

    @property
    def methods(self) -> list[Method]:
        """The baseline and the method, in the order in which they are trained."""
        return [BASELINE, METHODS[self.method]]

    def words(self) -> list[str]:
        """Words of the command that asks for this, without what is the default.

        >>> Options(images='photos', crop=(64, 96), from_scratch=True).words()
        ['--images', 'photos', '--from-scratch', '--crop', '64', '96']
        """
        found = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            found.append(f'--{field.name.replace("_", "-")}')
            if value is not True:
                found += map(str, value if isinstance(value, tuple) else [value])
        return found


def config_path(out: str, method: Method) -> str:
    """Config of a method in a start's folder."""
    return os.path.join(out, 'configs', f'{method.folder}.py')


def work_dir(out: str, method: Method) -> str:
    """Folder of the run of a method."""
    return os.path.join(out, method.folder)


def title(say: Say, text: str) -> None:
    """Say what comes next."""
    say(f'\n== {text}')


def tell(say: Say, lines: Iterable[str]) -> None:
    """Say some lines below a title."""
    for line in lines:
        say(f'  {line}')


def duration(seconds: float) -> str:
    """A time as text.

    >>> duration(75), duration(8000)
    ('75 s', '2 h 13 min')
    """
    if seconds < 120:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    if minutes < 120:
        return f'{minutes} min'
    return f'{minutes // 60} h {minutes % 60} min'
