"""Reading the scalars that a run has written."""

import json
from pathlib import Path


def read_scalars(work_dir: str | Path) -> list[dict]:
    """The records of the newest run in ``work_dir``, in order; each has a ``step``.

    Raises:
        FileNotFoundError: No run has written scalars there.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'{work_dir} holds no */vis_data/scalars.json of a run')
    with open(files[-1], encoding='utf-8') as file:
        return [json.loads(line) for line in file if line.strip()]


def last_metrics(work_dir: str | Path, metric: str = 'mIoU') -> dict:
    """The last validation record, the one of the last checkpoint.

    Raises:
        ValueError: The newest run has not been validated.
    """
    records = [
        record
        for record in read_scalars(work_dir)
        if any(key.split('/')[-1] == metric for key in record)
    ]
    if not records:
        raise ValueError(f'{work_dir}: the newest run has no validation with {metric}')
    return records[-1]
