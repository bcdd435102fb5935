import pytest

from mmsemiseg.start import plan as plans
from mmsemiseg.start.plan import Plan

WIDE = [(640, 480)] * 10


def test_ladder():
    assert plans.ladder([(100, 60)]) == [100]
    assert plans.ladder([(330, 60), (320, 20)]) == [192, 224, 256, 288, 325]
    assert plans.ladder([(4000, 3000)])[-1] == 1024
    assert plans.ladder([(1024, 500)])[-1] == 1024


def test_crops():
    assert plans.crop_of(WIDE, 320)[0] == (160, 224)
    assert plans.crop_of([(480, 640)] * 3, 320)[0] == (224, 160)
    crop, reason = plans.crop_of(WIDE + [(480, 640)] * 5, 320)
    assert crop == (192, 192)
    assert 'square' in reason
    assert plans.crop_of([(50, 50)], 50)[0] == (64, 64)


@pytest.mark.parametrize(('labels', 'batch'), [(2, 2), (4, 4), (7, 4), (8, 8), (99, 8)])
def test_batch(labels, batch):
    assert plans.batch_of(labels)[0] == batch


def test_iterations():
    assert plans.wanted_iterations(60, 8) == (1000, '130 passes over 60 labels')
    assert plans.wanted_iterations(4, 4)[0] == 1000
    assert plans.wanted_iterations(10**5, 8)[0] == 20000


def test_side():
    def side_of(pixels):
        return plans.side_of([192, 256, 384], lambda s: pixels // s**2, 1000)

    assert side_of(300 * 192**2) == (
        192,
        'the largest for which 300 iterations fit the time',
    )
    assert side_of(300 * 256**2 - 1)[0] == 192
    assert side_of(300 * 256**2)[0] == 256
    assert side_of(300 * 384**2) == (
        384,
        'the size of the images, for which the time is enough',
    )
    side, reason = side_of(300 * 192**2 - 1)
    assert side == 192
    assert '300 iterations do not fit' in reason


def test_area_of_a_crop():
    assert plans.area(WIDE, 320) == 160 * 224
    assert plans.area(WIDE, 240) == plans.area(WIDE, 224)


def test_what_fits():
    iterations, times = plans.fit_iterations(1000, 1.0, 50, 10)
    assert (iterations, times) == (860, 4)
    assert plans.fit_iterations(1000, 1.0, 50, 100) == (800, 1)
    assert plans.fit_iterations(10, 1.0, 50, 1)[0] == 10


def test_length():
    assert plans.length(None, 7, 1000, 'why') == (1000, 'why')
    assert plans.length(1, 5000, 1000, 'why')[0] == 4000
    assert plans.length(1, 2000, 1000, 'why') == (2000, 'what fits 1 h')
    assert '1000 would be better' in plans.length(1, 900, 1000, 'why')[1]
    assert 'says little' in plans.length(1, 90, 1000, 'why')[1]


def test_lines_have_reasons():
    plan = Plan(side=320, crop=(160, 224), batch=8, reasons=dict(scale='because'))
    assert plan.lines()[0] == ('scale', 'long side 320', 'because')
