"""What was found: how grave, about what, and what to do."""

from collections.abc import Iterable
from typing import NamedTuple

LEVELS = ('error', 'warning', 'note')
"""From the gravest: with an error no training starts, or it fails."""


class Finding(NamedTuple):
    """``text`` names the setting or the file, the rule and the value.

    ``about`` is the part of the report; ``remedy`` says what to do, where the text
    does not.
    """

    level: str
    about: str
    text: str
    remedy: str = ''

    def __str__(self) -> str:
        ends = self.remedy and not self.text.endswith(('.', '!', '?'))
        return f'{self.text}{"." if ends else ""} {self.remedy}'.strip()


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """Each text once, the gravest first.

    >>> found = [Finding('note', 'data', 'b'), Finding('error', 'run', 'a')]
    >>> [one.level for one in ranked([*found, *found])]
    ['error', 'note']
    """
    first: dict[str, Finding] = {}
    for level in LEVELS:
        for finding in findings:
            if finding.level == level:
                first.setdefault(finding.text, finding)
    return list(first.values())


def counted(findings: Iterable[Finding]) -> str:
    """How many there are of each level.

    >>> counted([Finding('note', 'data', 'a'), Finding('note', 'data', 'b')])
    '0 errors, 0 warnings, 2 notes'
    """
    levels = [finding.level for finding in findings]
    numbers = [(levels.count(level), level) for level in LEVELS]
    return ', '.join(f'{n} {name}{"" if n == 1 else "s"}' for n, name in numbers)
