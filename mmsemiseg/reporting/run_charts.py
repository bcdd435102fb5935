"""The charts of runs: scores, losses, learning rates, pseudo labels, memory banks."""

import re
from collections.abc import Sequence

from .charts import COLOURS, Chart, Curve, line_chart
from .run_folder import RunRecord

FILL = re.compile(r'bank_(fill|least)(\d*)')
BANK = re.compile(r'bank|queue|fill|prototype|memory_(?!mb)', re.IGNORECASE)
AUDIT = re.compile(r'audit/(?:.+/)?([A-Za-z]+(?:@[\d.]+)?)')  # of no single class
SCORE = re.compile(r'(?:(.+)/)?mIoU')


def shared_charts(runs: Sequence[RunRecord]) -> list[Chart]:
    """Charts that have all runs in them, a colour each, also where one has pairs."""
    many = len(runs) > 1
    scores, rates = [], []
    for number, run in enumerate(runs):
        prefix = f'{run.name}: ' if many else ''
        colour = 2 * number if not many else number
        for key in run.keys:
            match = SCORE.fullmatch(key)
            if match is None or key.startswith('audit/') or '.' in key:
                continue
            network = match[1] or 'model'
            dashed = network.startswith('teacher')
            if many:
                network = re.sub(r'\d+$', 's', network)
            name = f'{prefix}{network}'
            scores.append(
                Curve(name, run.curve(key), colour + dashed * (not many), dashed)
            )
        rates.append(Curve(run.name, run.curve('lr'), colour))
    if len({str(curve.points) for curve in rates}) == 1:
        rates = [rates[0]._replace(name='all runs' if many else runs[0].name)]
    charts = [
        line_chart('Validation mIoU', scores, 'mIoU in %'),
        line_chart('Learning rate', rates, bottom=0),
    ]
    return [chart for chart in charts if chart is not None]


def loss_chart(run: RunRecord) -> Chart | None:
    """All losses of a run: their sum, those on labels, those on unlabeled images."""
    keys = [key for key in run.keys if 'loss' in key and '/' not in key]
    keys.sort(key=lambda key: key != 'loss')
    curves = [
        Curve(key, run.curve(key), n, dashed=n >= COLOURS) for n, key in enumerate(keys)
    ]
    return line_chart('Losses', curves, bottom=0)


def pseudo_charts(run: RunRecord) -> list[Chart]:
    """Coverage and confidence of pseudo labels, and their audit where it is logged."""
    named = dict(pseudo_coverage='kept pixels', pseudo_confidence='mean confidence')
    curves = [
        Curve(name, run.curve(key), n) for n, (key, name) in enumerate(named.items())
    ]
    audits = [match for key in run.keys if (match := AUDIT.fullmatch(key))]
    shown = [Curve(m[1], run.curve(m[0]), n) for n, m in enumerate(audits)]
    charts = [
        line_chart('Pseudo labels', curves, 'share', bottom=0),
        line_chart('Audit of the pseudo labels', shown, 'in %', bottom=0),
    ]
    return [chart for chart in charts if chart is not None]


def bank_charts(run: RunRecord) -> list[Chart]:
    """How full the memory banks are, and what else is logged of them."""
    fills, others = [], []
    for key in run.keys:
        match = FILL.fullmatch(key)
        if match is not None:
            bank = f'bank {match[2]}' if match[2] else 'bank'
            least = match[1] == 'least'
            name = f'{bank}, class with the fewest rows' if least else f'{bank}, all'
            fills.append(Curve(name, run.curve(key), int(match[2] or 0), least))
        elif BANK.search(key) and 'loss' not in key:
            others.append(Curve(key, run.curve(key), len(others)))
    charts = [
        line_chart('Fill of the memory bank', fills, 'share', bottom=0),
        line_chart('Memory bank', others, bottom=0),
    ]
    return [chart for chart in charts if chart is not None]


def memory_chart(run: RunRecord) -> Chart | None:
    """Memory of the process, or of tensors on a GPU."""
    curve = Curve('peak', run.curve('peak_memory_mb'))
    return line_chart('Peak memory', [curve], 'MiB', bottom=0)
