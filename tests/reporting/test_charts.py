import re
import xml.etree.ElementTree as ElementTree

from mmsemiseg.reporting.charts import INK, STAND_INS, Curve, line_chart


def test_a_chart_has_the_colours_of_the_page():
    points = [(n, n / 2) for n in range(1000)]
    curves = [Curve('a', points), Curve('b', points, colour=9, dashed=True)]
    chart = line_chart('Loss <&>', curves, 'in %', bottom=0)
    root = ElementTree.fromstring(chart.svg)
    assert root.tag.endswith('svg') and 'width' not in root.attrib
    assert root.attrib['viewBox'] and root.attrib['role'] == 'img'
    assert 'var(--c0)' in chart.svg and 'var(--c1)' in chart.svg
    assert 'currentColor' in chart.svg and 'in %' in chart.svg
    assert not any(colour in chart.svg for colour in (INK, *STAND_INS))
    assert 'DejaVu' not in chart.svg and '<metadata' not in chart.svg
    assert len(chart.svg) < 60_000


def test_nothing_to_show():
    assert line_chart('Loss', [Curve('a', [])]) is None
    assert len(line_chart('Loss', [Curve('a', []), Curve('b', [(1, 2)])]).legend) == 1


def test_a_name_stands_in_the_legend_once():
    curves = [Curve('teachers', [(1, n)]) for n in (2, 3)]
    assert [one.name for one in line_chart('mIoU', curves).legend] == ['teachers']


def test_the_highest_point_is_below_the_upper_end():
    """Also where the curve is far from the least value, and where all are 0."""
    chart = line_chart('Memory', [Curve('a', [(1, 700.0), (2, 701.0)])], bottom=0)
    paths = {
        'curve' if 'clip-path' in one.attrib else one.attrib['d'].split()[0]: one
        for one in ElementTree.fromstring(chart.svg).iter()
        if one.tag.endswith('path') and 'var(--c0)' in one.attrib.get('style', '')
    }
    (axes,) = re.findall(r'<clipPath.*?<rect[^>]* y="([\d.]+)"', chart.svg, re.DOTALL)
    last = float(paths['curve'].attrib['d'].split()[-1])
    assert last > float(axes) + 2  # points below the upper end
    assert line_chart('Loss', [Curve('a', [(1, 0.0), (2, 0.0)])], bottom=0) is not None
