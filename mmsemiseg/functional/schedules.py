"""Schedules of the iteration: weight ramp-ups and the decay of a teacher.

Both check their settings at every call; :func:`check_ramp_up` refuses bad
settings at construction.
"""

import math
from collections.abc import Mapping

RAMP_UPS = ('exp', 'linear', 'cosine', 'step')
WARMUPS = {'1/(t+1)': 1, '1/(10t+1)': 10}


def ramp_up(step: int, length: int, kind: str | None = 'exp') -> float:
    """Factor of a loss weight in iteration ``step``, which rises to 1 at ``length``.

    With x = step / length below 1: 'exp' is exp(-5 (1 - x)^2), 'linear' x,
    'cosine' (1 - cos(pi x)) / 2, 'step' 0. From ``length`` on it is 1, and
    always with kind None or length 0.

    >>> [round(ramp_up(step, 2000), 6) for step in (0, 1000, 2000)]
    [0.006738, 0.286505, 1.0]
    """
    if kind not in (None, *RAMP_UPS):
        raise ValueError(
            'ramp-up kind must be None or one of '
            f'{", ".join(RAMP_UPS)}, but got {kind!r}'
        )
    number = isinstance(length, (int, float)) and not isinstance(length, bool)
    if not number or not length >= 0:
        raise ValueError(f'ramp-up length must be at least 0, but got {length!r}')
    if kind is None or step >= length:
        return 1.0
    x = max(step, 0) / length
    if kind == 'exp':
        return math.exp(-5 * (1 - x) ** 2)
    if kind == 'linear':
        return x
    if kind == 'cosine':
        return (1 - math.cos(math.pi * x)) / 2
    return 0.0


def is_turn(step: int, share: float) -> bool:
    """Whether a step is among the evenly spread share of all steps.

    >>> [is_turn(step, 0.5) for step in range(4)]
    [False, True, False, True]
    """
    return math.floor((step + 1) * share) > math.floor(step * share)


def check_ramp_up(**settings: dict | None) -> None:
    """Refuse what is neither None nor ``dict(kind=..., length=...)`` of a ramp-up.

    >>> check_ramp_up(ramp_up=5)
    Traceback (most recent call last):
    ValueError: ramp_up must be None or dict(kind=..., length=iterations), but got 5
    """
    for name, value in settings.items():
        if value is None:
            continue
        known = isinstance(value, Mapping) and set(value) <= {'kind', 'length'}
        if not known or 'length' not in value:
            raise ValueError(
                f'{name} must be None or dict(kind=..., length=iterations), '
                f'but got {value}'
            )
        ramp_up(0, **value)


def ema_decay(
    step: int,
    max_steps: int | None,
    decay: float,
    warmup: str | None = None,
    anneal: str | None = None,
) -> float:
    """Decay d in step t of teacher = d * teacher + (1 - d) * student.

    ``anneal='cosine'`` raises d from ``decay`` to 1 over T = ``max_steps``:
    1 - (1 - decay) (cos(pi t / T) + 1) / 2. A warm-up bounds d from above by
    1 - 1/(t+1) or 1 - 1/(10t+1): at t = 0 it is 0, so the teacher is a copy of the
    student.

    >>> round(ema_decay(10, None, 0.995, warmup='1/(10t+1)'), 6)
    0.990099
    >>> ema_decay(50, 100, 0.995, anneal='cosine')
    0.9975
    """
    number = isinstance(decay, (int, float)) and not isinstance(decay, bool)
    if not number or not 0 <= decay <= 1:
        raise ValueError(f'decay must be in [0, 1], but got {decay!r}')
    if warmup not in (None, *WARMUPS):
        raise ValueError(
            f'warmup must be None or one of {", ".join(WARMUPS)}, but got {warmup!r}'
        )
    if anneal not in (None, 'cosine'):
        raise ValueError(f"anneal must be None or 'cosine', but got {anneal!r}")
    if anneal is not None:
        if max_steps is None or max_steps <= 0:
            raise ValueError(
                f"anneal='cosine' needs max_steps above 0, but got {max_steps}"
            )
        x = min(step / max_steps, 1)
        decay = 1 - (1 - decay) * (math.cos(math.pi * x) + 1) / 2
    if warmup is not None:
        decay = min(1 - 1 / (WARMUPS[warmup] * step + 1), decay)
    return decay
