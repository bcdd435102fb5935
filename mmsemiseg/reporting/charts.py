"""Charts as SVG inside of a page, in the colours of its style sheet."""

import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

POINTS = 400  # of a curve, which no screen shows more of
COLOURS = 8  # --c0 ... of the style sheet
INK = '#010203'  # stands for the colour of the text
STAND_INS = [f'#0102{number + 16:02x}' for number in range(COLOURS)]


class Curve(NamedTuple):
    """A line of a chart.

    Attributes:
        name: Name in the legend.
        points: Positions (x, y) by rising x.
        colour: Number of the colour; it goes round after the last one.
        dashed: Whether the line is dashed.
    """

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False


class Chart(NamedTuple):
    """A chart as it stands in a page.

    Attributes:
        title: Title above the chart.
        svg: Drawing, an ``<svg>`` element.
        legend: Curves of different names, for the legend.
    """

    title: str
    svg: str
    legend: list[Curve]


def line_chart(
    title: str, curves: Sequence[Curve], unit: str = '', bottom: float | None = None
) -> Chart | None:
    """Curves over the iterations; None where no curve has a point.

    Args:
        unit: Label of the vertical axis.
        bottom: Least value of the vertical axis; None: that of the curves.
    """
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return None
    figure = Figure(figsize=(4.4, 2.6), layout='tight')
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    for curve in curves:
        points = thinned(curve.points)
        axes.plot(
            *zip(*points, strict=True),
            color=STAND_INS[curve.colour % COLOURS],
            linestyle=(0, (4, 2)) if curve.dashed else '-',
            linewidth=1.6,
            marker='o' if len(points) < 13 else None,
            markersize=3,
        )
    if bottom is not None:
        highest = max(y for curve in curves for _, y in curve.points)
        top = max(axes.get_ylim()[1], bottom + 1.05 * (highest - bottom))
        axes.set_ylim(bottom, top if top > bottom else None)
    axes.set_xlabel('iteration', color=INK)
    axes.set_ylabel(unit, color=INK)
    axes.tick_params(colors=INK, labelsize=8)
    axes.grid(color=INK, alpha=0.15, linewidth=0.6)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ('left', 'bottom'))
        spine.set_edgecolor(INK)
    legend = list({curve.name: curve for curve in curves}.values())
    return Chart(title, _svg(figure, title), legend)


def thinned(points: Sequence) -> list:
    """At most ``POINTS`` of a curve, the last one among them.

    >>> len(thinned(range(1000))), thinned(range(1000))[-1], thinned([1, 2])
    (334, 999, [1, 2])
    """
    step = -(-len(points) // POINTS)
    return list(points)[::-1][:: max(step, 1)][::-1]


def _svg(figure: Figure, title: str) -> str:
    file = io.StringIO()
    settings = {'svg.fonttype': 'none', 'svg.hashsalt': title}
    with matplotlib.rc_context(settings):
        nothing = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
        figure.savefig(file, format='svg', transparent=True, metadata=nothing)
    text = file.getvalue()
    text = re.sub(r'<metadata>.*?</metadata>', '', text, flags=re.DOTALL)
    text = text[text.index('<svg') :].replace(INK, 'currentColor')
    for number, colour in enumerate(STAND_INS):
        text = text.replace(colour, f'var(--c{number})')
    text = re.sub(r'font: ([\d.]+px)[^;\"]*', r'font: \1 sans-serif', text)
    text = re.sub(r'font-family: [^;"]*', 'font-family: sans-serif', text)
    return re.sub(r'(<svg[^>]*?) width="\S+"', r'\1', text, count=1).replace(
        '<svg ', '<svg role="img" ', 1
    )
