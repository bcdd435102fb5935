"""Checks of settings of CTT that belong together."""

ENQUEUE_RULES = ('ratio', 'inverse')


def check_enqueue_number(number: int, size: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise ValueError(
            f'enqueue_number must be an integer >= 1, or in {ENQUEUE_RULES}, '
            f'but got {number!r}'
        )
    if number > size:
        raise ValueError(
            f'enqueue_number must be at most bank_size={size}, but got {number}'
        )


def check_levels(threshold: float, hc_weight: float, lc_weight: float) -> None:
    """The one level that is weighted needs cells."""
    if hc_weight > 0 and lc_weight == 0 and threshold >= 1:
        raise ValueError(
            'with lc_weight=0 threshold must be below 1, or no cell is contrasted: '
            f'the high level has those above it, but got {threshold}'
        )
    if lc_weight > 0 and hc_weight == 0 and threshold <= 0:
        raise ValueError(
            'with hc_weight=0 threshold must be above 0, or no cell is contrasted: '
            f'the low level has those up to it, but got {threshold}'
        )


def check_mutual(
    num_pairs: int, teacher: dict | None, hc_weight: float, lc_weight: float
) -> None:
    if num_pairs < 2:
        raise ValueError(
            "teaching='mutual' needs num_pairs of at least 2: students label for "
            f'each other, but got {num_pairs}'
        )
    if hc_weight > 0 or lc_weight > 0:
        raise ValueError(
            "teaching='mutual' has no teachers to fill the banks: set hc_weight=0 "
            f'and lc_weight=0, but got {hc_weight} and {lc_weight}'
        )
    if teacher is not None:
        raise ValueError(
            "teaching='mutual' has no teachers: teacher must be None, but got "
            f'{teacher}'
        )
