"""Settings of model, data and metrics that must say the same."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from ..pseudo_masks import PseudoMaskDataset
from .labels import class_names
from .model_settings import ModelSettings
from .streams import HELD_OUT, StreamFiles, leaf_datasets, transforms_of


def setting_problems(
    datasets: Mapping[str, Any],
    files: Mapping[str, StreamFiles],
    settings: ModelSettings,
) -> tuple[list[str], list[str]]:
    """Problems and notes on the settings of all streams and of the model."""
    masked = {n: d for n, d in datasets.items() if any(files[n].masks)}
    problems, notes = _numbers_of_classes(datasets, settings)
    problems += _class_names(datasets)
    problems += _ignored_labels(masked, settings)
    problems += _reduced(masked)
    return problems, notes


def dataset_setting(name: str) -> str:
    """The setting of a stream's dataset.

    >>> dataset_setting('unlabeled'), dataset_setting('val')
    ('train_dataloader.unlabeled.dataset', 'val_dataloader.dataset')
    """
    held_out = name in HELD_OUT
    return (
        f'{name}_dataloader.dataset' if held_out else f'train_dataloader.{name}.dataset'
    )


def _declared(datasets: Mapping[str, Any]) -> dict[tuple[str, ...], str]:
    """Class names -> the first dataset that declares them."""
    found: dict[tuple[str, ...], str] = {}
    for name, dataset in datasets.items():
        for leaf in leaf_datasets(dataset):
            if names := class_names(leaf):
                found.setdefault(names, dataset_setting(name))
    return found


def _numbers_of_classes(
    datasets: Mapping[str, Any], settings: ModelSettings
) -> tuple[list[str], list[str]]:
    declared = _declared(datasets)
    if not declared:
        return [], []
    names, place = max(declared.items(), key=lambda item: len(item[0]))
    problems, notes = [], []
    for head, number in settings.classes.items():
        text = f'{head} has {number} classes, but {place} has {len(names)}'
        if number < len(names):
            problems.append(f'{text}: set num_classes={len(names)} in the head')
        elif number > len(names):
            notes.append(f'{text}: the others are never learned')
    return problems, notes


def _class_names(datasets: Mapping[str, Any]) -> list[str]:
    declared = list(_declared(datasets).items())
    problems = []
    for names, place in declared[1:]:
        first, first_place = declared[0]
        if len(names) != len(first):
            what = f'{len(first)} and {len(names)} classes'
        else:
            pairs = enumerate(zip(first, names, strict=True))
            at, (one, other) = next((i, p) for i, p in pairs if p[0] != p[1])
            what = f'different classes, the first at {at}: {one!r} and {other!r}'
        problems.append(
            f'{first_place} and {place} have {what}: a model has one list of classes'
        )
    return problems


def _ignored_labels(masked: Mapping[str, Any], settings: ModelSettings) -> list[str]:
    if not masked:
        return []
    places: dict[int, dict[str, None]] = defaultdict(dict)  # as ordered sets
    for place, value in settings.ignored.items():
        places[value][place] = None
    for name, dataset in masked.items():
        for leaf in leaf_datasets(dataset):
            for place, value in _ignored_by(leaf).items():
                places[value][f'{dataset_setting(name)}{place}'] = None
    if len(places) < 2:
        return []
    text = '; '.join(f'{value} by {", ".join(of)}' for value, of in places.items())
    return [
        f'labels are ignored by different numbers: {text}. One number must be ignored '
        'everywhere, padding included'
    ]


def _ignored_by(leaf: Any) -> dict[str, int]:
    """Number that a dataset and its pipeline write where there is no label."""
    found = {'.ignore_index': getattr(leaf, 'ignore_index', None)}
    if getattr(leaf, 'reduce_zero_label', False):
        found['.reduce_zero_label=True (which writes 255)'] = 255
    if 255 in (getattr(leaf, 'label_map', None) or {}).values():
        found[' (whose mapping to classes writes 255)'] = 255
    for step in transforms_of(leaf):
        place = f'.pipeline ({type(step).__name__})'
        found[f'{place}.seg_pad_val'] = getattr(step, 'seg_pad_val', None)
        padding = getattr(step, 'pad_val', None)
        if isinstance(padding, Mapping):
            found[f'{place}.pad_val.seg'] = padding.get('seg')
        if getattr(step, 'cat_max_ratio', 0) < 1:
            found[f'{place}.ignore_index'] = getattr(step, 'ignore_index', None)
    return {name: value for name, value in found.items() if isinstance(value, int)}


def _reduced(masked: Mapping[str, Any]) -> list[str]:
    """``reduce_zero_label`` in training alone, in testing alone, or by half."""
    problems = []
    values: dict[str, set[bool]] = {}
    for name, dataset in masked.items():
        setting = dataset_setting(name)
        for leaf in leaf_datasets(dataset):
            own = bool(getattr(leaf, 'reduce_zero_label', False))
            if not isinstance(leaf, PseudoMaskDataset):  # written with classes' numbers
                values.setdefault(setting, set()).add(own)
            steps = [getattr(s, 'reduce_zero_label', None) for s in transforms_of(leaf)]
            if any(step not in (None, own) for step in steps):
                problems.append(
                    f'{setting} has reduce_zero_label={own}, but its LoadAnnotations '
                    f'{not own}: set it in the dataset alone'
                )
    told = {value: setting for setting, found in values.items() for value in found}
    if len(told) > 1 and not set.intersection(*values.values()):
        problems.append(
            f'reduce_zero_label is True in {told[True]}, but not in {told[False]}: the '
            'same class would have two numbers'
        )
    return problems
