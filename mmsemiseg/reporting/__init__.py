"""A report of runs as one HTML file, from what they have written."""

from .page import write_report
from .run_folder import RunRecord, find_runs, read_run
from .worth import Row, Worth, rows_of, worth_of

__all__ = [
    'Row',
    'RunRecord',
    'Worth',
    'find_runs',
    'read_run',
    'rows_of',
    'worth_of',
    'write_report',
]
