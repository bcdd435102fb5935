"""Scale, crop, batch, length and learning rate: choices with their reasons."""

import dataclasses
import os
import statistics
from collections.abc import Callable, Sequence

LADDER = (192, 224, 256, 288, 320, 384, 448, 512, 640, 768, 896, 1024)
"""Long sides of the resized images that are tried."""

CPU_SIDE, GPU_SIDE = 320, 768  # where no time is given
CROP_SHARE = 0.7
STRIDE = 32
RATIO = (0.5, 2.0)
PASSES = 130  # over the labels; 1 000 iterations of 8 for 60 labels
LEAST_ITERATIONS, MOST_ITERATIONS = 1000, 20000
ENOUGH = 0.3  # of the iterations that are wanted, before larger images are
MOST_TIMES_WANTED = 4
SHORT = 300
DECAY = 0.99  # of a teacher
SHORT_WINDOW = 1 / 20  # of a short run is what a teacher averages over
MARGIN = 0.95  # of the time is planned
SAVE_INTERVAL = 500  # iterations between two checkpoints
PROBE_SHARE = 0.01  # of the time, for the steps that measure a method
LEARNING_RATE = 1e-3
PRETRAINED_RATES = 1e-3, 0.2  # of new heads, and a pretrained backbone's share of it
FAST_RATES = 1e-2, 0.03  # in a short run
SHORT_RUN = 1000  # iterations that it has at most


@dataclasses.dataclass
class Plan:
    """The numbers that configs are made of; ``reasons`` has one for each.

    ``crop`` is (height, width); ``precision`` None, 'bf16' or 'fp16'; ``measuring``
    says that the configs are those of steps that are timed, ``fast_heads`` that new
    heads learn at :data:`FAST_RATES`.
    """

    side: int = 0
    crop: tuple[int, int] = (0, 0)
    batch: int = 0
    workers: int = 2
    precision: str | None = None
    rate: float = LEARNING_RATE
    backbone_rate: float = 1.0
    fast_heads: bool = False
    iterations: int = 0
    warmup: int = 0
    val_interval: int = 0
    measuring: bool = False
    reasons: dict[str, str] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[tuple[str, str, str]]:
        """(what, value, reason) of each choice, to be printed."""
        height, width = self.crop
        rate = f'{self.rate:g}'
        if self.backbone_rate != 1:
            rate += f', backbone x {self.backbone_rate:g}'
        shown = dict(
            scale=f'long side {self.side}',
            crop=f'{height} x {width} (height x width)',
            batch=f'{self.batch} labeled + {self.batch} unlabeled',
            precision=self.precision or 'fp32',
            rate=rate,
            iterations=f'{self.iterations}, validation every {self.val_interval}',
        )
        return [(k, v, self.reasons.get(k, '')) for k, v in shown.items()]


def ladder(sizes: Sequence[tuple[int, int]]) -> list[int]:
    """Long sides to choose from: none is above that of the images.

    >>> ladder([(300, 200), (310, 200)])
    [192, 224, 256, 288, 305]
    """
    usual = usual_side(sizes)
    return [side for side in LADDER if side < 0.95 * usual] + [
        min(usual, LADDER[-1])
    ] * (usual <= 1.05 * LADDER[-1])


def usual_side(sizes: Sequence[tuple[int, int]]) -> int:
    """Median of the long sides."""
    return round(statistics.median(max(size) for size in sizes))


def crop_of(sizes: Sequence[tuple[int, int]], side: int) -> tuple[tuple[int, int], str]:
    """(height, width) of a crop of images with this long side, and why."""
    tall = sum(height > width for width, height in sizes) / len(sizes)
    short = statistics.median(min(size) / max(size) for size in sizes)
    large, small = (_divisible(CROP_SHARE * v) for v in (side, short * side))
    reason = f'{CROP_SHARE:.0%} of the resized image, in multiples of {STRIDE}'
    if 0.1 < tall < 0.9:
        middle = _divisible((large * small) ** 0.5)
        return (middle, middle), f'{reason}; square, as images stand and lie'
    return (large, small) if tall >= 0.9 else (small, large), reason


def area(sizes: Sequence[tuple[int, int]], side: int) -> int:
    """Pixels of a crop of images with this long side."""
    height, width = crop_of(sizes, side)[0]
    return height * width


def _divisible(value: float) -> int:
    return max(2 * STRIDE, round(value / STRIDE) * STRIDE)


def batch_of(labels: int) -> tuple[int, str]:
    """Images of each stream in a batch, and why.

    >>> batch_of(5)
    (4, 'not more than the 5 labels')
    """
    if labels >= 8:
        return 8, 'enough for BatchNorm; 8 + 8 is what was tested'
    batch = 4 if labels >= 4 else 2
    return batch, f'not more than the {labels} labels'


def rates_of(
    iterations: int, masks: bool, given: float | None = None
) -> tuple[tuple[float, float], str]:
    """Rate of new heads, a pretrained backbone's share of it, and why.

    In runs of 300 and 500 iterations SupOnly was better with heads at 1e-2 than at 1e-3
    on MSRC-21 (docs/results.md). Longer runs, and a MaskFormer, were not tried so.

    >>> rates_of(300, masks=False)[0], rates_of(2000, masks=False)[0]
    ((0.01, 0.03), (0.001, 0.2))
    """
    if iterations <= SHORT_RUN and not masks and not given:
        return FAST_RATES, 'in a short run new heads learn fast, the backbone slowly'
    return PRETRAINED_RATES, 'a pretrained backbone learns at a fifth'


def pseudo_labels_of(plan: Plan) -> tuple[float, int]:
    """Share of each pseudo class that is learned, and iterations of the ramp-up.

    A teacher with heads that learn fast is soon worth learning from.

    >>> pseudo_labels_of(Plan(iterations=500, fast_heads=True))
    (0.6, 100)
    >>> pseudo_labels_of(Plan(iterations=500))
    (0.8, 500)
    """
    if plan.fast_heads:
        return 0.6, max(1, plan.iterations // 5)
    return 0.8, min(plan.iterations, LEAST_ITERATIONS)


def wanted_iterations(labels: int, batch: int) -> tuple[int, str]:
    """Iterations that this many labels are worth, and why."""
    wanted = round(PASSES * labels / batch, -2)
    reason = f'{PASSES} passes over {labels} labels'
    if wanted < LEAST_ITERATIONS:
        return LEAST_ITERATIONS, f'at least {LEAST_ITERATIONS}'
    if wanted > MOST_ITERATIONS:
        return MOST_ITERATIONS, f'at most {MOST_ITERATIONS} without --iterations'
    return int(wanted), reason


def side_of(
    sides: Sequence[int], fits: Callable[[int], int], wanted: int
) -> tuple[int, str]:
    """The largest side for which enough iterations fit the time, and why.

    What was tried is in docs/results.md: fewer iterations than these were worse.

    Args:
        sides: Sides to choose from, ascending.
        fits: Function that says how many iterations of a side fit the time.
        wanted: Iterations that the labels are worth.

    >>> side_of([192, 256, 384], lambda side: 40_000_000 // side**2, 1000)
    (256, 'the largest for which 300 iterations fit the time')
    """
    enough = round(ENOUGH * wanted)
    able = [side for side in sides if fits(side) >= enough]
    if not able:
        return sides[0], (
            f'the smallest that is tried: {enough} iterations do not fit the time'
        )
    if able[-1] == sides[-1]:
        return sides[-1], 'the size of the images, for which the time is enough'
    return able[-1], f'the largest for which {enough} iterations fit the time'


def fit_iterations(
    seconds: float, step: float, fixed: float, validation: float
) -> tuple[int, int]:
    """(iterations, validations) that fit the time.

    Args:
        seconds: Time for both trainings.
        step: Seconds of one iteration of both.
        fixed: Seconds until both have started, and for all else.
        validation: Seconds of one validation of both.
    """
    left = MARGIN * seconds - fixed
    for times in (4, 2, 1):
        if times * validation <= 0.2 * left or times == 1:
            break
    iterations = int((left - times * validation) / max(step, 1e-9))
    return max(iterations, 10), times


def length(
    hours: float | None, fits: int, wanted: int, why_wanted: str
) -> tuple[int, str]:
    """Iterations of a run, and why: what fits the time, within reason."""
    if hours is None:
        return wanted, why_wanted
    if fits > MOST_TIMES_WANTED * wanted:
        return MOST_TIMES_WANTED * wanted, (
            f'{MOST_TIMES_WANTED} times what the labels ask for ({why_wanted}); the '
            f'{hours:g} h would be enough for {fits}'
        )
    reason = f'what fits {hours:g} h'
    if fits < SHORT:
        reason += f': below {SHORT} a comparison says little'
    elif fits < wanted:
        reason += f'; {wanted} would be better ({why_wanted})'
    return fits, reason


def decay_of(iterations: int) -> float:
    """Decay of a teacher: smaller in runs that are shorter than they should be.

    >>> decay_of(1000), decay_of(300), decay_of(10)
    (0.99, 0.93, 0.0)
    """
    if iterations >= LEAST_ITERATIONS:
        return DECAY
    window = max(1.0, SHORT_WINDOW * iterations)
    return round(1 - 1 / window, 2)


def probe_seconds(seconds: float | None) -> float:
    """Seconds of steps that measure a method: more where more time is planned.

    >>> probe_seconds(600), probe_seconds(36000)
    (10.0, 60.0)
    """
    if seconds is None:
        return 30.0
    return float(min(60, max(10, PROBE_SHARE * seconds)))


def workers_of(device: str) -> int:
    """Processes that load the images of a stream."""
    cores = os.cpu_count() or 2
    return 2 if device == 'cpu' else max(2, min(8, cores // 2))
