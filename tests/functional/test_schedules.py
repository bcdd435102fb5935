import math

import pytest

from mmsemiseg.functional import ema_decay, is_turn, ramp_up


@pytest.mark.parametrize(
    ('kind', 'values'),
    [
        ('exp', [math.exp(-5), math.exp(-5 * 0.5625), math.exp(-1.25), 1, 1]),
        ('linear', [0, 0.25, 0.5, 1, 1]),
        ('cosine', [0, (1 - math.sqrt(0.5)) / 2, 0.5, 1, 1]),
        ('step', [0, 0, 0, 1, 1]),
        (None, [1, 1, 1, 1, 1]),
    ],
)
def test_ramps(kind, values):
    ramp = [ramp_up(step, 100, kind) for step in (0, 25, 50, 100, 1000)]
    assert ramp == pytest.approx(values)


def test_known_values_of_the_exponential_ramp():
    ramp = [ramp_up(step, 2000) for step in (0, 1000, 1999, 2000)]
    assert ramp == pytest.approx([0.006738, 0.286505, 0.999999, 1], abs=5e-7)


@pytest.mark.parametrize('kind', ['exp', 'linear', 'cosine', 'step', None])
def test_ramps_rise_and_length_zero_is_no_ramp(kind):
    ramp = [ramp_up(step, 17, kind) for step in range(20)]
    assert ramp == sorted(ramp)
    assert ramp_up(0, 0, kind) == 1


def test_bad_ramps_are_named():
    with pytest.raises(ValueError, match=r"kind must .* but got 'exponential'"):
        ramp_up(0, 10, 'exponential')
    with pytest.raises(ValueError, match='length must be at least 0, but got -1'):
        ramp_up(0, -1)


def test_constant_decay():
    assert ema_decay(0, None, 0.99) == ema_decay(10**6, None, 0.99) == 0.99


@pytest.mark.parametrize(
    ('warmup', 'step', 'value'),
    [
        ('1/(t+1)', 0, 0),
        ('1/(t+1)', 1, 0.5),
        ('1/(t+1)', 10, 1 - 1 / 11),
        ('1/(t+1)', 1000, 0.995),
        ('1/(10t+1)', 0, 0),
        ('1/(10t+1)', 10, 0.990099),
        ('1/(10t+1)', 20, 0.995),
    ],
)
def test_warmups(warmup, step, value):
    decay = ema_decay(step, None, 0.995, warmup=warmup)
    assert decay == pytest.approx(value, abs=5e-7)


def test_cosine_anneal():
    decays = [ema_decay(t, 100, 0.995, anneal='cosine') for t in (0, 50, 100, 120)]
    assert decays == pytest.approx([0.995, 0.9975, 1, 1])


def test_warmup_bounds_the_annealed_decay():
    def decay(step):
        return ema_decay(step, 1000, 0.995, '1/(10t+1)', 'cosine')

    assert decay(0) == 0
    assert decay(10) == pytest.approx(0.990099, abs=5e-7)
    assert decay(500) == pytest.approx(0.9975)


def test_bad_decays_are_named():
    with pytest.raises(ValueError, match=r'decay must .* but got 1.1'):
        ema_decay(0, None, 1.1)
    with pytest.raises(ValueError, match=r"warmup must .* but got 'linear'"):
        ema_decay(0, None, 0.9, warmup='linear')
    with pytest.raises(ValueError, match=r"anneal must .* but got 'exp'"):
        ema_decay(0, 10, 0.9, anneal='exp')
    for max_steps in (None, 0):
        with pytest.raises(ValueError, match=f'max_steps above 0, but got {max_steps}'):
            ema_decay(0, max_steps, 0.9, anneal='cosine')


@pytest.mark.parametrize(
    ('share', 'expected'),
    [(0.5, [0, 1, 0, 1, 0, 1]), (0.0, [0] * 6), (1.0, [1] * 6), (1 / 3, [0, 0, 1] * 2)],
)
def test_turns_of_a_share(share, expected):
    assert [is_turn(step, share) for step in range(6)] == expected
