"""Gains and gaps by the number of labels: the numbers in tables and pictures."""

import json

import numpy as np
import pytest

REPORTED = """method,set,labels,score
Sup,city,10,40
Sup,city,40,50
Sup,city,all,60
Sup,voc,10,1
New,city,10,48
New,city,40,61.5
Old,city,40,52
Old,city,all,55
"""


@pytest.fixture
def tool(load_tool):
    return load_tool('analysis_tools/compare_splits')


@pytest.fixture
def drawn(tool, monkeypatch):
    """Path -> axes of each picture."""
    found = {}
    save = tool.save_plot

    def keep(figure, path):
        found[path.name] = figure.axes[0]
        save(figure, path)

    monkeypatch.setattr(tool, 'save_plot', keep)
    return found


@pytest.fixture
def runs(tmp_path):
    """Arguments: two methods with 10 and 40 labels, two seeds; full supervision."""

    def write(name, labels, scores, network):
        for seed, score in scores.items():
            path = tmp_path / f'{name}-{labels}' / f'seed{seed}' / 'x' / 'vis_data'
            path.mkdir(parents=True)
            lines = [{f'{network}/mIoU': 1.0, 'step': 5}]
            lines += [{f'{network}/mIoU': score, 'step': 10}]
            text = '\n'.join(json.dumps(line) for line in lines)
            (path / 'scalars.json').write_text(text)
        return f'{name}@{labels}={tmp_path / f"{name}-{labels}"}:{network}'

    return [
        write('Sup', 40, {0: 50.0, 1: 52.0}, 'student'),
        write('Sup', 10, {0: 40.0, 1: 44.0, 2: 99.0}, 'student'),
        write('Sup', 'full', {0: 60.0, 1: 62.0}, 'student'),
        write('CTT', 10, {0: 46.0, 1: 54.0}, 'student0'),
        write('CTT', 40, {1: 53.0}, 'teacher1'),
    ]


@pytest.fixture
def table(tmp_path):
    (tmp_path / 'paper.csv').write_text(REPORTED)
    columns = ['--columns', 'method', 'labels', 'score', '--full', 'all']
    return ['--reported', str(tmp_path / 'paper.csv'), *columns]


CITY = ['--where', 'set=city']


def rows(text):
    lines = [line.split('|') for line in text.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line[1:-1]] for line in lines]


def test_tables_of_runs(tool, runs, capsys):
    assert tool.main(runs) == 0
    found = rows(capsys.readouterr().out)
    assert found[0] == ['mIoU in %', '10', '40', 'full']
    assert found[3] == ['CTT', '50.0 ± 5.7', '53.0', '']
    assert found[4] == ['gain in points', '10', '40']
    # 46 - 40 and 54 - 44; the seed 2 is the baseline's alone
    assert found[6] == ['CTT', '+8.0 ± 2.8', '+1.0']
    assert found[7] == ['gap in points', '10', '40']
    assert found[9] == ['Sup', '+0.0 ± 33.0', '-10.0 ± 1.4']
    assert found[10] == ['CTT', '-11.0 ± 5.7', '-8.0']


def test_tables_of_reported_numbers(tool, table, capsys):
    assert tool.main([*table, *CITY]) == 0
    found = rows(capsys.readouterr().out)
    assert found[3] == ['New (reported)', '48.0', '61.5', '']
    assert found[7:9] == [
        ['New (reported)', '+8.0', '+11.5'],
        ['Old (reported)', '', '+2.0'],
    ]
    assert found[11:] == [
        ['Sup (reported)', '-20.0', '-10.0'],
        ['New (reported)', '-12.0', '+1.5'],  # of the baseline's full supervision
        ['Old (reported)', '', '-3.0'],  # of its own
    ]


def test_several_values_of_a_column(tool, table, capsys):
    tool.main([*table, *CITY, 'method=Sup', 'method=Old'])
    assert [row[0] for row in rows(capsys.readouterr().out)[2:4]] == [
        'Sup (reported)',
        'Old (reported)',
    ]


def bars(axes):
    """{label: ([(middle, height)], hatch)}"""
    groups = [c for c in axes.containers if hasattr(c, 'patches')]
    return {
        group.get_label(): (
            [(b.get_x() + b.get_width() / 2, b.get_height()) for b in group],
            group.patches[0].get_hatch(),
        )
        for group in groups
    }


def test_bars_of_the_gains(tool, runs, table, drawn, tmp_path):
    out = ['--gains', str(tmp_path / 'a' / 'gains.png')]
    tool.main([*runs, *table, '--full', 'full', *CITY, 'labels=10', 'labels=40', *out])
    assert (tmp_path / 'a' / 'gains.png').stat().st_size > 1000
    axes = drawn['gains.png']
    found = bars(axes)
    assert list(found) == ['CTT', 'New (reported)', 'Old (reported)']
    third = 0.8 / 3
    places = {name: [place for place, _ in group] for name, (group, _) in found.items()}
    heights = {name: [h for _, h in group] for name, (group, _) in found.items()}
    assert places['CTT'] == pytest.approx([-third, 1 - third])
    assert places['New (reported)'] == pytest.approx([0, 1])
    assert places['Old (reported)'] == pytest.approx([1 + third])
    assert heights['CTT'] == pytest.approx([8, 1])
    assert heights['New (reported)'] == pytest.approx([8, 11.5])
    assert heights['Old (reported)'] == pytest.approx([2])
    assert [hatch for _, hatch in found.values()] == [None, '//', '//']
    assert [text.get_text() for text in axes.get_xticklabels()] == ['10', '40']
    (line,) = [c for c in axes.collections if hasattr(c, 'get_segments')]
    spans = [segment[:, 1].tolist() for segment in line.get_segments()]
    wide = 8**0.5
    assert spans[0] == pytest.approx([8 - wide, 8 + wide])
    assert spans[1] == pytest.approx([1, 1])


def test_curves_of_the_gaps(tool, runs, table, drawn, tmp_path):
    path = tmp_path / 'paper.csv'
    path.write_text(REPORTED.replace('all', 'full'))
    out = ['--full', 'full', '--gaps', str(tmp_path / 'gaps.png')]
    tool.main([*runs, *table, *CITY, *out])
    axes = drawn['gaps.png']
    found = {}
    for container in axes.containers:
        line = container.lines[0]
        found[container.get_label()] = line.get_linestyle(), line.get_xydata().tolist()
    assert found == {
        'Sup': ('-', [[10, 0], [40, -10]]),
        'CTT': ('-', [[10, -11], [40, -8]]),
        'Sup (reported)': ('--', [[10, -20], [40, -10]]),
        'New (reported)': ('--', [[10, -12], [40, 1.5]]),
        'Old (reported)': ('--', [[40, -3]]),
    }
    assert axes.get_xscale() == 'log'
    colours = {c.get_label(): c.lines[0].get_color() for c in axes.containers}
    assert colours['Sup'] == colours['Sup (reported)'] != colours['CTT']


def test_splits_are_in_order(tool):
    found = [
        tool.Series('A', False, dict.fromkeys(['1/4', '1/30', 'full'])),
        tool.Series('B', False, dict.fromkeys(['1/8'])),
    ]
    assert tool.splits_of(found, 'full') == ['1/30', '1/8', '1/4']
    found = [tool.Series('A', False, dict.fromkeys(['100', '20', '2975']))]
    assert tool.splits_of(found, '2975') == ['20', '100']
    for labels, message in ((['1/8', '20'], 'all numbers or'), (['few'], "but got 'f")):
        with pytest.raises(ValueError, match=message):
            tool.splits_of([tool.Series('A', False, dict.fromkeys(labels))], 'full')


def test_the_last_step_is_one_of_all_seeds(tool):
    curves = {0: {5: dict(mIoU=1.0), 9: dict(mIoU=2.0)}, 1: {5: dict(mIoU=3.0)}}
    assert tool.last_scores(curves, 'mIoU') == {0: 1.0, 1: 3.0}
    with pytest.raises(ValueError, match=r'seeds \[0, 1\] have no validation in comm'):
        tool.last_scores({0: {5: {}}, 1: {6: {}}}, 'mIoU')


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        (['A=x'], 'NAME@LABELS=FOLDER'),
        (['--baseline', 'Base'], r"--baseline must be in \['Sup', 'CTT'\], but got 'B"),
        (['--gaps', 'x.png', '--full', '10'], r"1/8, or '10' .* but got 'full'"),
    ],
)
def test_arguments_that_cannot_be(tool, runs, more, message):
    with pytest.raises(ValueError, match=message):
        tool.main([*runs, *more])


def test_runs_that_cannot_be_compared(tool, runs):
    with pytest.raises(ValueError, match='Sup@40 is given twice'):
        tool.main([*runs, runs[0]])
    with pytest.raises(ValueError, match='--gaps: there is no score .* NAME@full'):
        tool.main([*runs[:2], '--gaps', 'x.png'])
    with pytest.raises(ValueError, match='--gains: no split has'):
        tool.main([*runs[:1], '--gains', 'x.png'])
    with pytest.raises(ValueError, match='give runs as NAME@LABELS'):
        tool.main([])
    with pytest.raises(ValueError, match=r'share no seed: \[0\] and \[1\]'):
        tool.gains(
            tool.Series('A', False, {'10': {0: 1.0}}),
            tool.Series('B', False, {'10': {1: 1.0}}),
            ['10'],
        )


@pytest.mark.parametrize(
    ('more', 'message'),
    [
        ([], "has 'Sup' with '10' labels twice: choose by --where"),
        (['--where', 'city'], "COLUMN=VALUE, but got 'city'"),
        (['--where', 'data=city'], "columns .* but not 'data'"),
        (['--where', 'set=ade'], 'no row with set=ade'),
        (
            [*CITY, '--columns', 'method', 'labels', 'set'],
            "must be a number, but is 'c",
        ),
        ([*CITY, '--baseline', 'X'], r"--reported-baseline must be in \['Sup', 'New'"),
    ],
)
def test_reported_numbers_that_cannot_be_read(tool, table, more, message):
    with pytest.raises(ValueError, match=message):
        tool.main([*table, *more])


def test_gains_and_gaps_of_hand_made_series(tool):
    base = tool.Series('B', False, {'1/8': {0: 1.0, 1: 3.0}, 'full': {0: 9.0}})
    own = tool.Series('A', False, {'1/8': {1: 4.0, 0: 3.0}, '1/4': {0: 5.0}})
    found = tool.gains(own, base, ['1/8', '1/4'])
    assert list(found) == ['1/8'] and sorted(found['1/8']) == [1.0, 2.0]
    found = tool.gaps(own, base, ['1/8', '1/4'], 'full')
    assert {k: sorted(v) for k, v in found.items()} == {'1/8': [-6, -5], '1/4': [-4]}
    assert tool.gaps(own, base, ['1/8'], 'all') == {}
    assert tool.means({'1/8': np.array([1.0, 3.0]), '1/4': np.array([2.0])}) == (
        [2.0, 2.0],
        [pytest.approx(2**0.5), 0.0],
    )
