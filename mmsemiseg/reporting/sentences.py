"""The verdict and the settings of runs in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .run_folder import RunRecord
from .worth import Row, Worth, baseline_of, unlike, worth_of

FEW = 50  # validation images below which a score says little


def verdict(row: Row, rows: Sequence[Row]) -> list[str]:
    """What the unlabeled images of a row are worth, in sentences; the first is it."""
    run = row.first
    score = row.mean(run.tested)
    if score is None:
        return [f'{row.name} has not been validated: nothing can be said yet.']
    found = worth_of(row, rows)
    if found is None:
        return [
            f'{row.name} reaches {score:.1f} mIoU ({run.tested}). What the unlabeled '
            'images are worth cannot be said: no run here has the same '
            f'{run.num_labeled or ""} labels alone. This one does: mim train mmsemiseg '
            f'{run.folder / "config.py"} --sup-only',
            *_one_class(row),
        ]
    base = baseline_of(row, rows)
    return [_worth(row, base, found), *_doubts(row, base)]


def _worth(row: Row, base: Row, found: Worth) -> str:
    run = row.first
    scores = (
        f'{row.mean(run.tested):.1f} ({run.tested} of {row.name}) against '
        f'{base.mean(base.first.tested):.1f} with the same {run.num_labeled} labels '
        'alone'
    )
    if abs(found.gain) <= found.chance:
        return (
            f'No difference that chance could not make: the unlabeled images gave '
            f'{found.gain:+.1f} mIoU, {scores}.'
        )
    if found.gain < 0:
        return f'The unlabeled images cost {-found.gain:.1f} mIoU: {scores}.'
    return (
        f'The unlabeled images are worth {found.gain:+.1f} mIoU{_as_labels(found)}: '
        f'{scores}.'
    )


def _as_labels(found: Worth) -> str:
    if found.more_labels is None:
        return ''
    low, high = found.between
    if math.isinf(found.more_labels):
        return f', more than {high - low} more labels'
    return (
        f', about as many as {max(found.more_labels, 1):.0f} more labels '
        f'(between the runs with {low} and {high})'
    )


def _doubts(row: Row, base: Row) -> list[str]:
    found = []
    if min(len(row.runs), len(base.runs)) < 2:
        found.append(
            'One run each: with another seed both may move by a point or more. Repeat '
            'with --seed 1 before you rely on it.'
        )
    found += [f'Not quite like with like: {reason}.' for reason in unlike(row, base)]
    return _one_class(row, base) + found


def _one_class(*rows: Row) -> list[str]:
    """Which of the rows find no more than one class."""
    found = []
    for row in rows:
        scores = dict(row.first.scores[row.first.tested])
        scores.pop('mIoU')
        some = [name for name, value in scores.items() if value >= 1]  # in %
        if len(scores) > 1 and len(some) < 2:
            what = f'no class but {some[0]!r}' if some else 'no class'
            found.append(
                f'{row.name} finds {what} yet: train longer before you compare.'
            )
    return found


def taught(last_words: str) -> str:
    """The part of a run's last words on what taught it; the verdict has the rest.

    >>> taught('did the unlabeled images help? Hardly. To see whether that is more')
    'Hardly.'
    """
    text = last_words.partition('help? ')[2] or last_words
    text = text.partition('. To see whether')[0].rstrip('.')
    text = text.replace('of their pixels', 'of the unlabeled pixels')
    return f'{text[0].upper()}{text[1:]}.' if text else ''


def labels_alone(rows: Sequence[Row]) -> list[str]:
    """What more labels gave, where no run has unlabeled images."""
    points = sorted(
        (row.first.num_labeled, row.mean(row.first.tested))
        for row in rows
        if row.first.num_labeled and row.mean(row.first.tested) is not None
    )
    text = 'These runs learned from labels alone'
    if points:
        text += ': ' + ', '.join(f'{score:.1f} mIoU of {n}' for n, score in points)
    return [f'{text}. They are what a run with unlabeled images has to beat.']


def method_name(run: RunRecord) -> str:
    """The method of a run."""
    model = run.config.get('model') or {}
    name = model.get('type', 'unknown')
    if 'pseudo' in run.streams:
        return f'{name} on labels and pseudo masks'
    return name


def settings(run: RunRecord) -> dict[str, str]:
    """What was trained on what, in words by topic."""
    cfg = run.config
    model = cfg.get('model') or {}
    student = model.get('student') or (model.get('students') or [model])[0]
    parts = {
        name: value
        for name, value in model.items()
        if name not in ('type', 'student', 'students', 'data_preprocessor')
    }
    found = dict(
        method=method_name(run),
        settings=', '.join(f'{k} = {v}' for k, v in flat(parts).items()) or 'defaults',
        student=_network(student),
    )
    loaders = cfg.get('train_dataloader') or {}
    loaders = {'labeled': loaders} if 'dataset' in loaders else loaders
    for name, loader in loaders.items():
        found[f'{name} images'] = _data(run, name, loader)
    found['validation'] = _data(run, 'val', cfg.get('val_dataloader') or {})
    found['classes'] = ', '.join(_classes(run))
    found['protocol'] = run.log.protocol
    found['length'] = f'{run.iterations} of {run.planned} iterations'
    found['optimizer'] = _optimizer(cfg.get('optim_wrapper') or {})
    found['seed'] = str(run.seed)
    return {key: value for key, value in found.items() if value}


def flat(value: Any, path: str = '') -> dict[str, Any]:
    """Leaves of nested settings by their path.

    >>> flat(dict(mix=dict(type='CutMix', area=(0.5, 0.5)), weight=1))
    {'mix.type': 'CutMix', 'mix.area': (0.5, 0.5), 'weight': 1}
    """
    if not isinstance(value, Mapping) or not value:
        return {path: value} if path else {}
    found: dict[str, Any] = {}
    for key, one in value.items():
        found.update(flat(one, f'{path}.{key}' if path else str(key)))
    return found


def _network(student: Mapping) -> str:
    backbone = student.get('backbone') or {}
    depth = f'-{backbone["depth"]}' if 'depth' in backbone else ''
    heads = student.get('decode_head') or {}
    heads = heads if isinstance(heads, (list, tuple)) else [heads]
    names = ', '.join(head.get('type', '') for head in heads)
    return f'{student.get("type")}: {backbone.get("type")}{depth}, {names}'


def _data(run: RunRecord, name: str, loader: Mapping) -> str:
    data = loader.get('dataset') or {}
    places = [data.get(key) for key in ('data_root', 'ann_file', 'images', 'exclude')]
    places = [str(place) for place in places if place]
    seen = run.log.streams.get(name)
    number = f'{seen.images}, {seen.batch} a step: ' if seen else ''
    return f'{number}{data.get("type", "")} {", ".join(places)}'.strip()


def _classes(run: RunRecord) -> list[str]:
    found = next(iter(run.scores.values()), {})
    return [name for name in found if name != 'mIoU']


def _optimizer(wrapper: Mapping) -> str:
    optimizer = wrapper.get('optimizer') or {}
    words = [f'{key} {value}' for key, value in optimizer.items() if key != 'type']
    kind = wrapper.get('type', 'OptimWrapper')
    kind = '' if kind == 'OptimWrapper' else f', {kind}'
    return f'{optimizer.get("type", "")} {", ".join(words)}{kind}'


def duration(seconds: float) -> str:
    """A time as a person would say it.

    >>> duration(42), duration(125), duration(7384)
    ('42 s', '2 min', '2 h 3 min')
    """
    if seconds < 100:
        return f'{seconds:.0f} s'
    minutes = round(seconds / 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours} h {minutes} min' if hours else f'{minutes} min'
