from mmsemiseg.start.formats import guess_classes
from mmsemiseg.start.mask_values import MaskValues
from mmsemiseg.start.strays import strays


def masks(kind, *counts, palette=None):
    return [
        MaskValues(f'{number}.png', kind, (100, 100), found, palette or {})
        for number, found in enumerate(counts)
    ]


def test_a_colour_of_three_pixels():
    surveyed = masks(
        'colour',
        {0x000000: 5000, 0xFF0000: 5000},
        {0x000000: 4997, 0xFF0000: 5000, 0xFF00FF: 3},
    )
    assert strays(guess_classes(surveyed, None).table, surveyed) == [
        'hardly a pixel has magenta (3 pixels, 1.png): if that was not meant, '
        '--ignore "#ff00ff" takes it out'
    ]


def test_what_is_ignored_stays_so():
    surveyed = masks('grey', {0: 9000, 1: 998, 2: 2}, {0: 9000, 1: 993, 255: 6, 2: 1})
    [said] = strays(guess_classes(surveyed, None).table, surveyed)
    assert 'class2 (3 pixels, 0.png and 1 more)' in said
    assert '--ignore "255" "2"' in said


def test_small_classes_are_none():
    surveyed = masks('grey', {0: 9990, 1: 10}, {0: 10000})
    assert strays(guess_classes(surveyed, None).table, surveyed) == []
    surveyed = masks('palette', {0: 9999, 1: 1}, palette={0: 0, 1: 0xFF0000})
    assert len(strays(guess_classes(surveyed, None).table, surveyed)) == 1
    table = guess_classes(surveyed, None).table._replace(other='nearest')
    assert strays(table, surveyed) == []
