"""The report as a page of text, and as numbers for other programs."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from .examination import Report
from .findings import counted

WIDTH = 88
NOTHING = 'Nothing forbids this training.'


def page(report: Report) -> str:
    """All parts, the findings last."""
    lines = [f'== {report.config}']
    parts = {
        'Environment': report.environment,
        'Data': report.data,
        'Settings': report.settings,
        'Dry run': report.dry_run,
    }
    for title, rows in parts.items():
        lines += ['', f'== {title}', *_rows(rows)]
        if title == 'Data' and report.classes:
            lines += report.classes
    lines += ['', f'== Findings: {counted(report.findings)}']
    for finding in report.findings:
        head = f'  {finding.level.upper():7}  '
        lines += _wrapped(head, str(finding))
    errors = report.number('error')
    what = 'error forbids' if errors == 1 else 'errors forbid'
    lines += ['', f'{errors} {what} this training.' if errors else NOTHING]
    return '\n'.join(lines)


def as_numbers(report: Report) -> dict[str, Any]:
    """The same for a JSON file."""
    return dict(
        config=report.config,
        environment=report.environment,
        data=report.data,
        settings=report.settings,
        dry_run=report.dry_run,
        measured=report.numbers,
        findings=[
            dict(level=f.level, about=f.about, text=f.text, remedy=f.remedy)
            for f in report.findings
        ],
        errors=report.number('error'),
        warnings=report.number('warning'),
    )


def _rows(rows: Mapping[str, str]) -> Iterator[str]:
    wide = max(map(len, rows), default=0)
    for name, text in rows.items():
        yield from _wrapped(f'  {name:{wide}}  ', text)


def _wrapped(head: str, text: str) -> list[str]:
    """Lines of a text with a hanging indent; long names of files stay whole."""
    found = []
    for line in text.splitlines() or ['']:
        found += textwrap.wrap(
            line,
            WIDTH,
            initial_indent=' ' * len(head) if found else head,
            subsequent_indent=' ' * len(head),
            break_long_words=False,
            break_on_hyphens=False,
        ) or [head.rstrip()]
    return found
