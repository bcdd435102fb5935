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
    assert len(line_chart('Loss', [Curve('a', []), Curve('b', [(1, 2)])]).curves) == 1
