"""Results of checks: one line of a file each, so that none is lost with its process."""

import json
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OK, FAIL, SKIP, INFO = 'ok', 'FAIL', 'skip', 'info'


class Rows:
    """Writes the results of one section.

    Args:
        path: File of all results of the section, one JSON object a line.
        section: Name of the section.
        seconds: Time limit of the section; what does not fit is skipped.
    """

    def __init__(self, path: str | Path, section: str, seconds: float) -> None:
        self.path = Path(path)
        self.section = section
        self.end = time.monotonic() + seconds
        self._started = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until the end of the section."""
        return self.end - time.monotonic()

    def add(self, check: str, result: str, value: str = '', **figures) -> None:
        """Record a result.

        Args:
            check: Name of what was checked.
            result: Result of the check: ``OK``, ``FAIL``, ``SKIP`` or ``INFO``.
            value: Value that the table shows.
            figures: Further values for the JSON file.
        """
        now = time.monotonic()
        row = dict(
            section=self.section,
            check=check,
            result=result,
            value=value,
            seconds=round(now - self._started, 2),
            **figures,
        )
        self._started = now
        with self.path.open('a', encoding='utf-8') as file:
            file.write(json.dumps(row) + '\n')
        print(f'[{self.section}] {check}: {result} {value}', flush=True)

    def passed(self, check: str, good: bool, value: str = '', **figures) -> None:
        self.add(check, OK if good else FAIL, value, **figures)

    @contextmanager
    def guarded(self, check: str) -> Iterator[None]:
        """An exception inside is a failed check, and the next check follows."""
        try:
            yield
        except Exception as error:
            traceback.print_exc(file=sys.stdout)
            self.add(check, FAIL, describe(error))

    def has_time(self, check: str, seconds: float = 0.0) -> bool:
        """Whether this much time is left; a row says so where it is not."""
        if self.left > seconds:
            return True
        self.add(check, SKIP, 'no time left')
        return False


def describe(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or ['']
    return f'{type(error).__name__}: {lines[0][:160]}'


def read_rows(path: str | Path) -> list[dict]:
    """Results so far; a line that was being written when its process died is left."""
    path = Path(path)
    rows = []
    for line in path.read_text(encoding='utf-8').splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows
