"""A run as its work folder shows it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmseg.registry import MODELS

from ..apis.config_text import parse_config_text
from ..utils.launch import read_config
from .banks import Bank
from .log_file import Log, Warned, read_log

PICTURES = ('overlays', 'pictures', 'painted', 'views', '*/vis_data/vis_image')
SUFFIXES = ('.png', '.jpg', '.jpeg')
DRAWN = {  # below report_pictures/, which `report --draw` writes
    'validation': 'Validation images',
    'pseudo_labels': 'Unlabeled images and their pseudo labels',
    'features': 'Features of validation images (t-SNE)',
}


class RunRecord(NamedTuple):
    """A run.

    Attributes:
        name: Name of the run in the report.
        folder: Work folder.
        config: Settings of the run.
        records: Logged scalars in the order of their ``step``, which each has.
        log: What the log says.
        pictures: Files of pictures in the folder.
        drawn: Files of the pictures that were drawn for the report, by their title.
        banks: Memory banks of the last checkpoint, where it was read.
        colours: Colour of each class in the drawn pictures, as ``#rrggbb``.
    """

    name: str
    folder: Path
    config: dict
    records: list[dict]
    log: Log
    pictures: list[Path]
    drawn: dict[str, list[Path]] = {}  # noqa: RUF012
    banks: tuple[Bank, ...] = ()
    colours: dict[str, str] = {}  # noqa: RUF012

    @property
    def seed(self):
        return (self.config.get('randomness') or {}).get('seed')

    @property
    def iterations(self) -> int:
        """Iterations that were trained, as far as they are logged."""
        return max((record['step'] for record in self.records), default=0)

    @property
    def planned(self) -> int | None:
        """Iterations that the config asks for."""
        return (self.config.get('train_cfg') or {}).get('max_iters')

    @property
    def streams(self) -> list[str]:
        """Names of the training streams."""
        loaders = self.config.get('train_dataloader') or {}
        return ['labeled'] if 'dataset' in loaders else list(loaders)

    @property
    def num_labeled(self) -> int | None:
        """Number of labeled images, where the log says it."""
        found = self.log.streams.get('labeled')
        return found.images if found else None

    @property
    def is_baseline(self) -> bool:
        """Whether it learned from labels alone."""
        named = str(self.config.get('experiment_name') or '').endswith('_sup-only')
        return named or self.streams == ['labeled']

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """mIoU and IoU of classes by network, of the last validation."""
        found: dict[str, dict[str, float]] = {}
        for record in self.records:
            named = _scores(record)
            if named:
                found = named
        return found

    @property
    def tested(self) -> str | None:
        """The network that the run predicts with, among those that were validated."""
        model = self.config.get('model') or {}
        chosen = model.get('predict_with') or _default_network(model.get('type'))
        known = list(self.scores)
        if chosen.startswith('mean_'):
            chosen = f'{chosen.removeprefix("mean_").removesuffix("s")}0'
        return chosen if chosen in known else next(iter(known), None)

    def curve(self, key: str) -> list[tuple[int, float]]:
        """Step and value of each record that has the scalar."""
        return [(one['step'], one[key]) for one in self.records if key in one]

    @property
    def keys(self) -> list[str]:
        """Names of all scalars."""
        return list(dict.fromkeys(key for record in self.records for key in record))


def _default_network(method: str | None) -> str:
    """Network by which a method predicts where no setting says it."""
    known = MODELS.get(method) if method else None
    return getattr(known, 'default_network', 'student')


def _scores(record: Mapping) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for key, value in record.items():
        network, _, name = key.rpartition('/')
        if key.startswith('audit/') or not _is_score(name):
            continue
        found.setdefault(network or 'model', {})[name.removeprefix('IoU.')] = value
    return {name: scores for name, scores in found.items() if 'mIoU' in scores}


def _is_score(name: str) -> bool:
    return name == 'mIoU' or name.startswith('IoU.')


def find_runs(path: str | Path) -> list[Path]:
    """The work folders of the runs at ``path``: itself, or those below it.

    Raises:
        FileNotFoundError: There is no run.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f'there is no folder {path}')
    for depth in ('', '*/', '*/*/'):
        files = path.glob(f'{depth}*/vis_data/scalars.json')
        found = {file.parents[2] for file in files}
        if found:
            return sorted(found)
    raise FileNotFoundError(
        f'{path} is no work folder of a run, and holds none: there is no '
        '*/vis_data/scalars.json'
    )


def read_run(folder: str | Path, name: str = '') -> RunRecord:
    """Read a run from its work folder.

    A run that was resumed has its earlier parts too.

    Raises:
        ValueError: Nothing was logged, what was cannot be read, or there is no config.
    """
    folder = Path(folder)
    parts = sorted(folder.glob('*/vis_data/scalars.json'))
    records: list[dict] = []
    logs: list[Log] = []
    for file in reversed(parts):
        found = _records(file)
        if not found:  # of a test, or stopped before it logged
            continue
        log = _log(file.parents[1])
        before = min((one['step'] for one in records), default=None)
        kept = [one for one in found if before is None or one['step'] < before]
        records, logs = kept + records, [log, *logs]
        if not log.resumed:
            break
    if not records:
        raise ValueError(f'{folder}: no run there has logged anything yet')
    name = name or folder.resolve().name
    pictures = _pictures(folder, PICTURES)
    drawn = {
        title: files
        for place, title in DRAWN.items()
        if (files := _pictures(folder, [f'report_pictures/{place}']))
    }
    colours = folder / 'report_pictures' / 'colours.json'
    return RunRecord(
        name,
        folder,
        _config(folder),
        records,
        _joined(logs),
        pictures,
        drawn,
        colours=json.loads(colours.read_text('utf-8')) if colours.is_file() else {},
    )


def _pictures(folder: Path, patterns: Sequence[str]) -> list[Path]:
    return [
        file
        for pattern in patterns
        for place in sorted(folder.glob(pattern))
        for file in sorted(place.rglob('*'))
        if file.suffix.lower() in SUFFIXES
    ]


def _records(file: Path) -> list[dict]:
    lines = file.read_text(encoding='utf-8').splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line) if line.strip() else {}
        except ValueError as error:
            if number == len(lines):  # it was being written when the run was stopped
                break
            raise ValueError(f'{file}, line {number} is no JSON: {error}') from error
        if isinstance(record, dict) and 'step' in record:
            found.append(record)
    return found


def _log(folder: Path) -> Log:
    files = sorted(folder.glob('*.log'))
    text = files[0].read_text(encoding='utf-8', errors='replace') if files else ''
    return read_log(text)


def _joined(logs: list[Log]) -> Log:
    """The logs of a run and of its continuations as one."""
    last = logs[-1]
    warnings: dict[str, Warned] = {}
    for log in logs:
        for one in log.warnings:
            seen = warnings.get(one.text)
            count = one.count + (seen.count if seen else 0)
            warnings[one.text] = (seen or one)._replace(count=count)
    return last._replace(
        warnings=list(warnings.values()),
        seconds=sum(log.seconds for log in logs),
        streams=last.streams or logs[0].streams,
        machine=last.machine or logs[0].machine,
    )


def _config(folder: Path) -> dict:
    path = folder / 'config.py'
    if not path.is_file():
        path = next(iter(sorted(folder.glob('*/vis_data/config.py'))[-1:]), path)
    if not path.is_file():
        raise ValueError(f'{folder} has no config.py: it is no work folder of a run')
    try:
        return parse_config_text(path.read_text(encoding='utf-8'))
    except ValueError:  # written by hand, with more than values in it
        return read_config(path).to_dict()
