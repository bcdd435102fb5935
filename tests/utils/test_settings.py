"""Errors of settings name the setting, the rule and the value."""

import re

import pytest

from mmsemiseg.utils.settings import (
    check_choices,
    check_integers,
    check_numbers,
    check_ranges,
)

INF, NAN = float('inf'), float('nan')


def test_good_settings():
    check_choices(norm=('all', ('all', 'kept')), mix=(None, (None, 'cutmix')))
    check_integers(1, size=1, number=5)
    check_integers(0, least=0)
    check_numbers(weight=0, decay=0.5, power=1e9)
    check_numbers(1, most=1, threshold=0)
    check_ranges(scale=(0.5, 0.5), area=[1, 2])
    check_ranges(1, area=(0.1, 1))


@pytest.mark.parametrize(
    ('check', 'message'),
    [
        (
            lambda: check_choices(norm=('al', ('all', 'kept'))),
            "norm must be in ('all', 'kept'), but got 'al'",
        ),
        (
            lambda: check_integers(2, size=2, other=1),
            'other must be an integer >= 2, but got 1',
        ),
        *(
            (
                lambda value=value: check_integers(0, size=value),
                f'size must be an integer >= 0, but got {value!r}',
            )
            for value in (-1, 1.0, True, '1', None)
        ),
        *(
            (
                lambda value=value: check_numbers(weight=value),
                f'weight must be a number >= 0, but got {value!r}',
            )
            for value in (-0.1, INF, NAN, True, '1', None)
        ),
        *(
            (
                lambda value=value: check_numbers(0.5, hue=value),
                f'hue must be in [0, 0.5], but got {value!r}',
            )
            for value in (-0.1, 0.51, INF, NAN)
        ),
        *(
            (
                lambda value=value: check_ranges(scale=value),
                f'scale must be (low, high) with 0 < low <= high, but got {value!r}',
            )
            for value in ((0, 1), (2, 1), (1, INF), (1, NAN), (1,), (1, 2, 3), 1, 'ab')
        ),
        (
            lambda: check_ranges(1, area=(0.5, 2)),
            'area must be (low, high) with 0 < low <= high <= 1, but got (0.5, 2)',
        ),
    ],
)
def test_bad_settings(check, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check()
