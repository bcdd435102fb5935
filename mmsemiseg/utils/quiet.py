"""Keep known chatter off the console: each line is named here, all else comes through.

The log file of a run keeps everything.
"""

import logging
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# Printed when modules of MMSegmentation and MMDetection are imported: parts of theirs
# that nothing here needs
IMPORT_PRINTS = re.compile(r'^Could not import OneDL\s*$|Line NMS is not compiled')
# Printed by MMSegmentation's layer-wise decay, a line for each parameter
LAYER_PRINTS = re.compile(
    r'^(self\.paramwise_cfg is |Build LearningRateDecay|set param \S+ as id \d+\s*$'
    r'|Param groups = )'
)
# Warnings of a module: (the beginning of the message, the module)
WARNINGS = (
    ('Fail to import ``MultiScaleDeformableAttention``', r'mmcv\.cnn\.bricks'),
    ('``MultiScaleDeformableAttention`` has been moved', r'mmcv\.cnn\.bricks'),
    ('The shape of value will convert from ', r'mmengine\.structures'),
    ('The draw is False, it means that the hook for vis', r'mmseg\.engine\.hooks'),
)
# Log records, whole or by their beginning
RECORDS = re.compile(
    r'\n-+\nSystem environment:'
    r'|Config:\n'
    r'|Hooks will be executed in the following order'
    r'|Distributed training is not used, all SyncBatchNorm'
    # of a teacher: the parameters that a student's config freezes come through
    r'|(\w+\.)*(pairs|head_pairs)\.\d+\.teacher\.\S+ is skipped since its requires_'
    r'|The prefix is not set in metric class '
    # a line for each setting of each parameter; SemiRunner says them by group
    r'|paramwise_options -- '
    r'|"FileClient" will be deprecated in future'
    r'|"HardDiskBackend" is the alias of "LocalBackend"'
    r'|results are saved to $'  # an empty name
)


@contextmanager
def quiet_imports() -> Iterator[None]:
    """While modules are imported, drop the known lines that they print and warn."""
    for message, module in WARNINGS:
        warnings.filterwarnings('ignore', re.escape(message), module=module)
    with without_prints(IMPORT_PRINTS):
        yield


@contextmanager
def without_prints(known: re.Pattern) -> Iterator[None]:
    """Drop what is printed with such a text."""
    before, sys.stdout = sys.stdout, _Sieve(sys.stdout, known)
    try:
        yield
    finally:
        sys.stdout.active = False  # a logger may have taken it for good
        sys.stdout = before


class _Sieve:
    """A stream without the known lines while it is active, then the stream itself."""

    def __init__(self, stream, known: re.Pattern) -> None:
        self._stream = stream
        self._known = known
        self.active = True
        self._dropped = False  # a text whose end of line comes by itself

    def write(self, text: str) -> int:
        if self.active and self._known.search(text):
            self._dropped = not text.endswith('\n')
            return len(text)
        dropped, self._dropped = self._dropped, False
        if dropped and text == '\n':
            return len(text)
        return self._stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


class ConsoleFilter(logging.Filter):
    """Drops the known log records."""

    def filter(self, record: logging.LogRecord) -> bool:
        return RECORDS.match(str(record.msg)) is None


def quiet_console(logger: logging.Logger) -> None:
    """Let the console of a logger have no known chatter, its file has it all.

    With ``log_level='DEBUG'`` the console has it, too.
    """
    for handler in logger.handlers:
        on_console = type(handler) is logging.StreamHandler
        known = any(isinstance(one, ConsoleFilter) for one in handler.filters)
        if on_console and not known and handler.level > logging.DEBUG:
            handler.addFilter(ConsoleFilter())
