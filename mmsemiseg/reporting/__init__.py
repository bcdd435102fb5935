"""A report of runs as one HTML file, from what they have written."""

from .banks import Bank, banks_of
from .page import write_report
from .run_folder import RunRecord, find_runs, read_run
from .worth import Row, Worth, rows_of, worth_of

__all__ = [
    'Bank',
    'Row',
    'RunRecord',
    'Worth',
    'banks_of',
    'find_runs',
    'read_run',
    'rows_of',
    'worth_of',
    'write_report',
]
