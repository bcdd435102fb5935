import numpy as np
import pytest
from PIL import Image

from mmsemiseg.start.mask_values import survey_all
from mmsemiseg.start.masks import choose_classes, write_masks

RED, BLUE, BLACK = (255, 0, 0), (0, 0, 255), (0, 0, 0)


@pytest.fixture
def save(tmp_path):
    """``save(array, ...)`` writes masks 0.png, 1.png, ... and returns their paths."""

    def write(*arrays, palettes=None, suffix='png', **options):
        paths = []
        for number, array in enumerate(arrays):
            image = Image.fromarray(np.asarray(array, np.uint8))
            if palettes:
                image.putpalette(palettes[number])
            paths.append(str(tmp_path / f'{number}.{suffix}'))
            image.save(paths[-1], **options)
        return paths

    return write


def choose(paths, folders=(), **options):
    return choose_classes(survey_all(paths), folders, **options)


def convert(tmp_path, paths, table):
    pairs = {f'seq/im{number}.jpg': path for number, path in enumerate(paths)}
    written = write_masks(pairs, str(tmp_path / 'out'), table)
    arrays = []
    for number in range(len(paths)):
        path = tmp_path / 'out' / 'seq' / f'im{number}.png'
        assert written[f'seq/im{number}.jpg'].path == str(path)
        arrays.append(np.asarray(Image.open(path)).tolist())
    return arrays


def test_numbers_stay(save, tmp_path):
    paths = save([[0, 1, 2]], [[1, 1, 255]])
    table, said = choose(paths)
    assert table.names == ('class0', 'class1', 'class2')
    assert said == ['masks hold class numbers from 0 to 2', '255 is ignored']
    assert convert(tmp_path, paths, table) == [[[0, 1, 2]], [[1, 1, 255]]]


def test_black_and_white(save, tmp_path):
    paths = save([[0, 255]], [[0, 0]])
    table, said = choose(paths)
    assert table.names == ('background', 'foreground')
    assert 'none is ignored' in said[0]
    assert convert(tmp_path, paths, table) == [[[0, 1]], [[0, 0]]]


def test_gaps_are_closed(save, tmp_path):
    paths = save([[7, 11, 26, 255]])
    table, said = choose(paths)
    assert table.names == ('class7', 'class11', 'class26')
    assert 'only 3 of them occur' in said[1]
    assert convert(tmp_path, paths, table) == [[[0, 1, 2, 255]]]


def test_grey_levels(save, tmp_path):
    paths = save([[0, 128, 255]])
    table, said = choose(paths)
    assert 'grey levels 0, 128, 255' in said[0]
    assert convert(tmp_path, paths, table) == [[[0, 1, 2]]]
    table, _ = choose(paths, ignored=['255'])
    assert convert(tmp_path, paths, table) == [[[0, 1, 255]]]


def test_palette_numbers(save, tmp_path):
    palettes = [[*BLACK, *RED, *BLUE]] * 2
    paths = save([[0, 1]], [[2, 0]], palettes=palettes)
    table, said = choose(paths)
    assert 'palette images' in said[0]
    assert table.palette == [list(BLACK), list(RED), list(BLUE)]
    assert convert(tmp_path, paths, table) == [[[0, 1]], [[2, 0]]]


def test_palettes_that_differ_count_by_colour(save, tmp_path):
    paths = save([[0, 1]], [[0, 1]], palettes=[[*BLACK, *RED], [*RED, *BLACK]])
    table, said = choose(paths)
    assert table.names == ('black', 'red')
    assert convert(tmp_path, paths, table) == [[[0, 1]], [[1, 0]]]


def test_colours(save, tmp_path):
    paths = save([[RED, BLACK, RED]], [[BLUE, RED, (224, 224, 192)]])
    table, said = choose(paths)
    assert table.names == ('black', 'red', 'blue')
    assert said == [
        'masks are coloured: 3 colours, each is a class',
        'ignored: #e0e0c0',
    ]
    assert convert(tmp_path, paths, table) == [[[1, 0, 1]], [[2, 1, 255]]]
    table, _ = choose(paths, ignored=['#0000ff', '#e0e0c0'])
    assert table.names == ('black', 'red')


def test_150_classes_are_numbers(save):
    table, said = choose(save(np.arange(150).reshape(10, 15)))
    assert len(table.classes) == 150
    assert said == ['masks hold class numbers from 0 to 149']


def blocks(*values):
    array = np.zeros((64, 64, *np.shape(values[0])))
    for i, value in enumerate(values):
        array[:, i * 64 // len(values) : (i + 1) * 64 // len(values)] = value
    return array


def test_jpegs_of_black_and_white(save, tmp_path):
    shape = blocks(0, 255)
    shape[16:40, 10:20] = 255
    shape[10:13, 2:60:7] = 120
    paths = save(shape, suffix='jpg', quality=30)
    table, said = choose(paths)
    assert 'levels between (saved as JPEG' in said[0]
    [mask] = convert(tmp_path, paths, table)
    share = np.mean(np.array(mask) == (shape > 128))
    assert set(np.unique(mask)) == {0, 1}
    assert share > 0.96


def test_jpegs_of_colours(save, tmp_path):
    shape = np.kron(blocks(BLACK, RED, BLUE), np.ones((4, 4, 1)))
    shape[80:120, 32:200] = BLUE
    paths = save(shape, suffix='jpg', quality=80)
    table, said = choose(paths)
    assert 'count as the nearest' in said[0]
    assert len(table.classes) == 3
    [mask] = convert(tmp_path, paths, table)
    assert np.mean(np.array(mask)[128:, :84] == 0) > 0.95


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        ([[0, 0]], 'hold the value 0 alone: nothing is painted'),
        (np.arange(220).reshape(10, 22), 'hold 220 different values'),
        ([[255, 255]], 'hold the value 255 alone'),
        ([[RED, RED]], 'hold the value #ff0000 alone'),
        (
            np.random.default_rng(0).integers(0, 255, (30, 30, 3)),
            'Are folders of images and masks exchanged',
        ),
    ],
)
def test_masks_that_are_none(save, array, message):
    with pytest.raises(ValueError, match=message):
        choose(save(array))


def test_class_file_beside_the_masks(save, tmp_path):
    (tmp_path / 'labelmap.txt').write_text('sky:0,0,255::\nred:255,0,0::\nvoid:0,0,0::')
    paths = save([[BLACK, RED, BLUE]])
    table, said = choose(paths, [str(tmp_path)])
    assert said == [f'2 classes by {tmp_path / "labelmap.txt"}']
    assert convert(tmp_path, paths, table) == [[[255, 1, 0]]]


def test_class_file_with_colours_and_masks_of_numbers(save, tmp_path):
    (tmp_path / 'classes.csv').write_text('sky,0,0,255\nred,255,0,0')
    paths = save([[0, 1, 255]])
    table, _ = choose(paths, [str(tmp_path)])
    assert table.palette == [list(BLUE), list(RED)]
    assert convert(tmp_path, paths, table) == [[[0, 1, 255]]]


def test_names_alone_beside_coloured_masks(save, tmp_path):
    names = tmp_path / 'classes.txt'
    names.write_text('sky\nroad')
    paths = save([[RED, BLUE]])
    table, said = choose(paths, [str(tmp_path)])
    assert table.names == ('blue', 'red') or table.names == ('red', 'blue')
    assert 'it is not used' in said[-1]
    with pytest.raises(ValueError, match='has no colours, but the masks are coloured'):
        choose(paths, class_file=str(names))


def test_class_file_that_lacks_a_value(save, tmp_path):
    (tmp_path / 'c.txt').write_text('a\nb')
    paths = save(np.full((10, 10), 5))
    with pytest.raises(ValueError, match=r'does not fit the masks: 100\.0% .*: 5'):
        choose(paths, class_file=str(tmp_path / 'c.txt'))
    mostly = np.zeros((10, 20))
    mostly[0, 0] = 5
    table, said = choose(save(mostly), class_file=str(tmp_path / 'c.txt'))
    assert table.other == 'ignore'
    assert '0.50% of the pixels have other values (5): ignored' in said[1]


@pytest.mark.parametrize(
    ('text', 'colours'), [('x', False), ('255', True), ('#zz', True)]
)
def test_ignored_values_that_are_none(save, text, colours):
    paths = save([[RED, BLUE]] if colours else [[0, 1]])
    with pytest.raises(ValueError, match=f'--ignore must name .*{text}'):
        choose(paths, ignored=[text])


def test_masks_that_changed_are_refused(save, tmp_path):
    table, _ = choose(save([[0, 1]]))
    with pytest.raises(ValueError, match='1 masks have values without a class'):
        convert(tmp_path, save([[0, 9]]), table)
