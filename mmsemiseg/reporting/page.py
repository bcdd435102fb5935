"""The report as one HTML file, which asks for nothing from elsewhere."""

import time
from collections.abc import Sequence
from pathlib import Path
from pprint import pformat
from statistics import fmean, stdev

import jinja2

from ..engine.checkpoints import atomic_write
from ..version import __version__
from .pictures import Embedded, chosen, embedded
from .run_charts import (
    bank_charts,
    loss_chart,
    memory_chart,
    pseudo_charts,
    shared_charts,
)
from .run_folder import RunRecord
from .sentences import (
    duration,
    labels_alone,
    method_name,
    settings,
    taught,
    verdict,
)
from .style import CSS
from .template import PAGE
from .worth import Row, baseline_of, rows_of

PICTURES = 6  # of a run
HEAD = ('labels', 'unlabeled', 'method', 'iterations', 'seeds', 'time', 's / step')


def write_report(
    runs: Sequence[RunRecord],
    out: str | Path,
    title: str = 'Report',
    pictures: int = PICTURES,
) -> list[str]:
    """Write the report of runs; returns the sentences of its verdict.

    Args:
        pictures: Number of pictures of a run at most.
    """
    rows = rows_of(runs)
    verdicts = verdicts_of(rows)
    several = any(len(row.runs) > 1 for row in rows)
    shown = dict(
        title=title,
        css=CSS,
        made=f'mmsemiseg {__version__}, {time.strftime("%Y-%m-%d %H:%M")}',
        verdicts=verdicts,
        overview=_overview(rows),
        spread='; mean ± standard deviation over the seeds' if several else '',
        charts=shared_charts(runs),
        classes=[_classes(row, rows) for row in _compared(rows)],
        runs=[_run(run, pictures) for run in runs],
    )
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(PAGE).render(shown)
    with atomic_write(out) as part:
        Path(part).write_text(page.strip() + '\n', encoding='utf-8')
    return [text for sentences in verdicts for text in sentences]


def verdicts_of(rows: Sequence[Row]) -> list[list[str]]:
    """The sentences on each method, or on the labels alone."""
    methods = [row for row in rows if not row.first.is_baseline]
    return [verdict(row, rows) for row in methods] or [labels_alone(rows)]


def _compared(rows: Sequence[Row]) -> list[Row]:
    """Rows with a table of classes: the methods, or else all."""
    methods = [row for row in rows if not row.first.is_baseline]
    return [row for row in methods or rows if row.first.scores]


def _overview(rows: Sequence[Row]) -> dict:
    kinds = list(dict.fromkeys(_kind(net) for row in rows for net in row.first.scores))
    head = ['run', *kinds, *HEAD, 'memory']
    return dict(head=head, rows=[_overview_row(row, kinds) for row in rows])


def _kind(network: str) -> str:
    """A network without the number of its pair."""
    return network.rstrip('0123456789')


def _overview_row(row: Row, kinds: list[str]) -> list[str]:
    run = row.first
    images = {name: stream.images for name, stream in run.log.streams.items()}
    labels = images.pop('labeled', None)
    others = ' + '.join(map(str, images.values()))
    length = f'{run.iterations}'
    if run.planned is not None and run.iterations < run.planned:
        length += f' of {run.planned}: stopped'
    steps = [one['time'] for one in run.records if 'time' in one and 'loss' in one]
    peak = max((value for _, value in run.curve('peak_memory_mb')), default=None)
    scores: dict[str, list[str]] = {kind: [] for kind in kinds}
    for network in run.scores:
        scores[_kind(network)].append(_cell(row.values(network)))
    return [
        row.name,
        *map(', '.join, scores.values()),
        '?' if labels is None else str(labels),
        others or '-',
        method_name(run),
        length,
        ', '.join(str(one.seed) for one in row.runs),
        duration(run.log.seconds) if run.log.seconds else '?',
        f'{fmean(steps):.2f}' if steps else '?',
        '?' if peak is None else f'{peak:.0f} MiB',
    ]


def _cell(values: Sequence[float]) -> str:
    if not values:
        return ''
    spread = f' ± {stdev(values):.1f}' if len(values) > 1 else ''
    return f'{fmean(values):.1f}{spread}'


def _classes(row: Row, rows: Sequence[Row]) -> dict:
    """The table of classes of a row, the baseline's first."""
    base = None if row.first.is_baseline else baseline_of(row, rows)
    columns = {} if base is None else {base.name: (base, base.first.tested)}
    columns |= {network: (row, network) for network in row.first.scores}
    tested = row.first.tested
    names = list(row.first.scores[tested])
    names.sort(key=lambda name: name == 'mIoU')
    shown = []
    for name in names:
        value = row.mean(tested, name)
        below = None if base is None else base.mean(base.first.tested, name)
        shown.append(
            dict(
                name=name,
                cells=[_cell(r.values(net, name)) for r, net in columns.values()],
                gain=None if below is None or value is None else value - below,
                share=min(max(value or 0.0, 0.0), 100.0),
            )
        )
    return dict(
        name=row.name,
        columns=list(columns),
        gains=base is not None,
        tested=tested,
        rows=shown,
    )


def _run(run: RunRecord, pictures: int) -> dict:
    charts = [
        loss_chart(run),
        *pseudo_charts(run),
        *bank_charts(run),
        memory_chart(run),
    ]
    shown = _shown(run.pictures, pictures)
    return dict(
        name=run.name,
        taught=taught(run.log.last_words),
        warnings=run.log.warnings,
        charts=[one for one in charts if one is not None],
        pseudo=run.log.pseudo,
        pictures=shown,
        drawn={title: _shown(files, pictures) for title, files in run.drawn.items()},
        colours=run.colours,
        banks=[
            dict(
                name=bank.name,
                size=bank.size,
                share=100 * bank.share,
                rows=[(name, n, 100 * n / bank.size) for name, n in bank.rows.items()],
            )
            for bank in run.banks
        ],
        settings={**settings(run), **run.log.machine},
        config=pformat(run.config, width=100, sort_dicts=True),
    )


def _shown(files: Sequence[Path], limit: int) -> list[Embedded]:
    """At most so many pictures, unreadable ones left out."""
    pictures = map(embedded, chosen(files, limit))
    return [picture for picture in pictures if picture is not None]
