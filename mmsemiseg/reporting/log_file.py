"""What the log of a run says: its streams, machine, warnings and last words."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from ..utils.quiet import RECORDS, WARNINGS

LINE = re.compile(
    r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) - \S+ - ([A-Z]+) - ', re.MULTILINE
)
STREAM = re.compile(r"stream '(\w+)': (\d+) images, (\d+) a step on each of (\d+)")
STEP = re.compile(r'Iter\(train\) \[ *(\d+)/')
CLASS = re.compile(r'(.+?) ([\d.]+)% \((\d+)% kept\)(?:, |$)')
NUMBER = re.compile(r'\d+(\.\d+)?')
MACHINE = ('Python', 'PyTorch', 'MMEngine', 'GPU 0', 'CPU capability usage', 'seed')
TIME = '%Y/%m/%d %H:%M:%S'


class Warned(NamedTuple):
    """A warning, and the iteration and number of its occurrences.

    Attributes:
        text: Message as it was logged first.
        step: Last iteration that was logged before it.
        count: Number of messages that differ in their numbers alone.
    """

    text: str
    step: int
    count: int


class Stream(NamedTuple):
    """Images of a stream, and how many of them a step takes."""

    images: int
    batch: int


class Log(NamedTuple):
    """Content of a log file.

    Attributes:
        streams: Streams of the training by name.
        machine: Versions and devices by name.
        warnings: Warnings in the order of their first occurrence.
        protocol: Evaluation protocol in words, '' where none is logged.
        last_words: What the run says at its end about the unlabeled images, or ''.
        pseudo: Share of the pixels, and share that is kept, in percent by class, of
            the last report on pseudo labels.
        resumed: Whether the run went on from a checkpoint.
        seconds: Time from the first to the last line.
    """

    streams: dict[str, Stream]
    machine: dict[str, str]
    warnings: list[Warned]
    protocol: str
    last_words: str
    pseudo: dict[str, tuple[float, float]]
    resumed: bool
    seconds: float


def read_log(text: str) -> Log:
    """The log of a run; what it does not say is empty.

    >>> log = read_log(
    ...     "2026/01/31 10:00:00 - mmengine - INFO - stream 'labeled': 16 images, 8 a "
    ...     "step on each of 1 process(es), 4.0 passes\\n"
    ...     '2026/01/31 10:00:09 - mmengine - WARNING - the teacher is behind\\n')
    >>> log.streams, log.seconds, log.warnings[0].text
    ({'labeled': Stream(images=16, batch=8)}, 9.0, 'the teacher is behind')
    """
    found = Log({}, _machine(text), [], '', '', {}, False, 0.0)
    warnings: dict[str, Warned] = {}
    step, times = 0, []
    for time, level, message in _records(text):
        times.append(time)
        if match := STEP.match(message):
            step = int(match[1])
        elif match := STREAM.match(message):
            name, images, batch, processes = match.groups()
            size = int(batch) * int(processes)
            found.streams[name] = Stream(int(images), size)
        elif message.startswith('evaluation protocol: '):
            found = found._replace(protocol=message.partition(': ')[2])
        elif message.startswith(('did the unlabeled images', 'this run learned from')):
            found = found._replace(last_words=message)
        elif message.startswith('pseudo labels: '):
            found = found._replace(pseudo=_classes(message))
        elif message.startswith('resuming from '):
            found = found._replace(resumed=True)
        if level in ('WARNING', 'ERROR', 'CRITICAL') and not _is_chatter(message):
            key = NUMBER.sub('', message)
            first = warnings.get(key, Warned(message, step, 0))
            warnings[key] = first._replace(count=first.count + 1)
    seconds = (times[-1] - times[0]).total_seconds() if times else 0.0
    return found._replace(warnings=list(warnings.values()), seconds=seconds)


def _records(text: str) -> Iterator[tuple[datetime, str, str]]:
    lines = list(LINE.finditer(text))
    ends = [line.start() for line in lines[1:]] + [len(text)]
    for line, end in zip(lines, ends, strict=False):
        time = datetime.strptime(line[1], TIME)
        yield time, line[2], text[line.end() : end].strip()


def _machine(text: str) -> dict[str, str]:
    found = {}
    for name in MACHINE:
        match = re.search(rf'^ +(?:- )?{name}: (.+)$', text, re.MULTILINE)
        if match:
            found[name.removesuffix(' usage')] = match[1].split(' (main')[0].strip()
    return found


def _classes(message: str) -> dict[str, tuple[float, float]]:
    cells = CLASS.findall(message.partition(': ')[2])
    return {name: (float(share), float(kept)) for name, share, kept in cells}


def _is_chatter(message: str) -> bool:
    known = any(message.startswith(start) for start, _ in WARNINGS)
    return known or RECORDS.match(message) is not None
