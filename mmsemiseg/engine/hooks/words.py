"""Messages of the hooks about pseudo labels and teachers."""

from typing import NamedTuple

from ...utils.method_settings import settings_of

LITTLE = 0.01  # a share of used pseudo labels below this is warned of
SLOW = 20  # a teacher that averages over more than 1/20 of the run is slow for it


BFLOAT16 = (
    'this CPU has instructions for bfloat16, and the run computes in float32: --amp '
    "(optim_wrapper.type='Bf16OptimWrapper') takes less time a step, with "
    '--channels-last even less (docs/benchmarks.md)'
)


class Lag(NamedTuple):
    """Scores of a teacher and its student, and how the teacher is updated."""

    names: tuple[str, str]  # of teacher and student among the networks
    scores: tuple[float, float]  # their mIoU
    updates: int  # of the teacher so far
    max_iters: int
    hook: object | None = None  # MeanTeacherHook
    decay: float | None = None  # in force now
    predict_with: str = ''


def filters_of(model) -> dict:
    """Settings that filter pseudo labels, with their values."""
    if hasattr(model, 'filters'):
        return model.filters
    threshold = getattr(model, 'threshold', None)
    return {} if threshold is None else dict(threshold=threshold)


def settings_to_look_at(model) -> str:
    """Filters, ramp-ups and loss weights of a model, with their values, as text."""
    found = filters_of(model) | {
        path: value
        for path, value in settings_of(model).items()
        if path.endswith(('weight', 'ramp_up'))
    }
    named = ', '.join(f'{name}={value!r}' for name, value in found.items())
    kind = type(model).__name__
    if hasattr(model, 'filters') and not model.filters:
        named = f'{named}; no setting of it keeps single pixels out'
    return f'the settings of {kind}: {named or "its threshold and loss weight"}'


def silent(names: list[str], streak: int, iteration: int, missing: str, model) -> str:
    """Message on losses of exactly 0; ``missing``: what a bank lacks, or ''."""
    why = f'{missing}, or ' if missing else ''
    return (
        f'{", ".join(names)} {"was" if len(names) == 1 else "were"} exactly 0 in the '
        f'last {streak} iterations (now {iteration}): {why}no unlabeled pixel teaches '
        f'the student. Look at {settings_to_look_at(model)}; during a warm-up this is '
        'as it should be.'
    )


def starving_class(name: str, unseen: int, confidence: float | None, model) -> str:
    """Message on a class without pseudo labels, with its mean confidence."""
    why = 'it was not predicted at all'
    if confidence is not None:
        why = f'its mean confidence was {confidence:.3f}'
    return (
        f'no pseudo label for class {name} in the last {unseen} iterations; since the '
        f'last report, {why}. Look at {settings_to_look_at(model)}.'
    )


def low_coverage(share: float, iterations: int, model) -> str:
    """Message on a run in which hardly any pseudo label is used."""
    filters = filters_of(model)
    changes = {name: 'lower' for name in filters}
    changes |= {name: 'raise' for name in filters if name.endswith('class_share')}
    named = [f'{changes[name]} model.{name} (now {filters[name]})' for name in filters]
    passed = 'iteration' if iterations == 1 else f'{iterations} iterations'
    remedy = ' or '.join([*named, 'train longer'])
    return (
        f'fewer than {LITTLE:.0%} of the unlabeled pixels teach anything '
        f'({share:.2%} in the last {passed}): {remedy}'
    )


def lagging(lag: Lag) -> str | None:
    """The teacher is far behind its student; None while it has yet to catch up.

    Of a run of a few iterations there is nothing to say either.
    """
    teacher, student = lag.scores
    name, other = lag.names
    behind = (
        f'the {name} is {student - teacher:.0f} mIoU behind its student '
        f'({teacher:.1f}, {other} {student:.1f})'
    )
    why = None if lag.decay is None else _why_slow(lag)
    if lag.max_iters < 2 * SLOW or (lag.decay is not None and why is None):
        return None
    tested = ''
    if lag.predict_with.startswith(('teacher', 'mean')):
        tested = (
            f'. Tests predict with {lag.predict_with!r} (model.predict_with): '
            f'--predict-with {other} shows the student'
        )
    return behind + (f': {why}' if why else '') + tested


def _why_slow(lag: Lag) -> str | None:
    own, total = lag.hook.decay, lag.max_iters
    if _window(own) * SLOW > total:
        decay = max(0.0, 1 - float(f'{SLOW / total:.1g}'))
        return (
            f'decay {own:g} is slow for {total} iterations, it averages over '
            f'{_window(own):.0f} of them. Take a MeanTeacherHook.decay of about '
            f'{decay:g}, or train longer'
        )
    if _window(lag.decay) * SLOW > total:
        return (
            f'its decay has risen from {own:g} to {lag.decay:.4f} '
            f'(anneal={lag.hook.anneal!r}), so that it hardly follows any more'
        )
    if lag.updates < 10 * _window(lag.decay):
        return None  # it has had no time yet
    return (
        f'decay {own:g} does not explain it, of {total} iterations it averages over '
        f'{_window(own):.0f}. Look at the BatchNorm statistics of the teacher '
        '(model.teacher) and at the learning rate of the student'
    )


def _window(decay: float) -> float:
    """The number of iterations that a moving average looks back."""
    return 1 / max(1 - decay, 1e-9)


def verdict(
    model,
    coverage: float | None,
    confidence: float | None,
    scores: dict[str, float],
    command: str,
    baseline: str | None = None,
) -> str:
    """Whether the unlabeled images helped, as far as a single run can know.

    ``baseline``: the folder of the same training on labels alone, where there is one.
    """
    if not getattr(model, 'learns_unlabeled', True):
        return (
            'this run learned from labels alone: it is what a run with unlabeled '
            'images has to beat' + _ended(scores)
        )
    alone = f'a run of the same length without the unlabeled images: {command}'
    if baseline:
        alone = f'the training on labels alone, whose log is in {baseline}'
    return (
        f'did the unlabeled images help? {_taught(model, coverage, confidence)}'
        f'{_ended(scores)}. To see whether that is more than the labels alone give, '
        f'compare with {alone}'
    )


def _taught(model, coverage: float | None, confidence: float | None) -> str:
    sure = '' if confidence is None else f' (mean confidence {confidence:.2f})'
    masks = getattr(model, 'extra_streams', ())
    if masks:
        return f'They taught by masks (stream {", ".join(map(repr, masks))})'
    if coverage is None:
        return f'How many of their pixels taught is not known of {type(model).__name__}'
    if coverage < LITTLE:
        filters = filters_of(model)
        named = ', '.join(f'model.{name}={filters[name]}' for name in filters)
        return (
            f'Hardly: {coverage:.2%} of their pixels taught anything over the run'
            + (f', by {named}' if named else '')
            + sure
        )
    return f'{coverage:.0%} of their pixels taught over the run{sure}'


def _ended(scores: dict[str, float]) -> str:
    named = ', '.join(f'{name} {score:.1f}' for name, score in scores.items())
    return f'; mIoU at the last validation: {named}' if named else ''
