"""Settings are checked when a thing is made; errors name setting, rule and value."""

import math
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches


def check_choices(**settings: tuple[object, Collection]) -> None:
    """Refuse values that are none of their choices: ``name=(value, choices)``.

    >>> check_choices(norm=('sum', ('all', 'kept')))
    Traceback (most recent call last):
    ValueError: norm must be in ('all', 'kept'), but got 'sum'
    """
    for name, (value, choices) in settings.items():
        if value not in choices:
            raise ValueError(f'{name} must be in {choices}, but got {value!r}')


def check_integers(least: int, /, **settings: int) -> None:
    """Refuse values that are no integers, or less than ``least``.

    >>> check_integers(1, bank_size=0)
    Traceback (most recent call last):
    ValueError: bank_size must be an integer >= 1, but got 0
    """
    for name, value in settings.items():
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f'{name} must be an integer >= {least}, but got {value!r}')


def check_numbers(most: float = math.inf, /, **settings: float) -> None:
    """Refuse values that are no finite numbers from 0 to ``most``.

    >>> check_numbers(1, threshold=75)
    Traceback (most recent call last):
    ValueError: threshold must be in [0, 1], but got 75
    """
    rule = 'a number >= 0' if most == math.inf else f'in [0, {most}]'
    for name, value in settings.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 <= value <= most or value == math.inf:
            raise ValueError(f'{name} must be {rule}, but got {value!r}')


def check_ranges(most: float = math.inf, /, **settings: tuple[float, float]) -> None:
    """Refuse values that are no (low, high), finite, above 0 and at most ``most``.

    >>> check_ranges(scale_range=(2, 1))
    Traceback (most recent call last):
    ValueError: scale_range must be (low, high) with 0 < low <= high, but got (2, 1)
    """
    rule = '0 < low <= high' + ('' if most == math.inf else f' <= {most}')
    for name, value in settings.items():
        pair = isinstance(value, (tuple, list)) and len(value) == 2
        if not pair or not 0 < value[0] <= value[1] <= most or value[1] == math.inf:
            raise ValueError(
                f'{name} must be (low, high) with {rule}, but got {value!r}'
            )


def check_views(views: tuple[str, ...], number: int = 2) -> None:
    """Refuse what is not the names of ``number`` views.

    >>> check_views('weak')
    Traceback (most recent call last):
    ValueError: views must be 2 names, but got 'weak'
    """
    names = isinstance(views, (tuple, list)) and all(isinstance(v, str) for v in views)
    if not names or len(views) != number:
        raise ValueError(f'views must be {number} names, but got {views!r}')


@contextmanager
def errors_name(setting: str) -> Iterator[None]:
    """Put the name of a setting in front of the errors that are raised inside.

    >>> with errors_name('class_balance'):
    ...     check_integers(1, labels=0)
    Traceback (most recent call last):
    ValueError: class_balance: labels must be an integer >= 1, but got 0
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f'{setting}: {error}') from error


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to end an error on a misspelt name; '' where nothing is near.

    >>> did_you_mean('unlabelled', ('labeled', 'unlabeled'))
    " (did you mean 'unlabeled'?)"
    """
    near = get_close_matches(str(name), [str(one) for one in known], n=1)
    return f' (did you mean {near[0]!r}?)' if near else ''
