"""Parts of a config by their path, as `model.student.backbone`."""

import difflib


def holds_settings(part: object) -> bool:
    """Whether it is a dict with keys, or a list with such a dict in it."""
    if isinstance(part, (list, tuple)):
        return any(holds_settings(value) for value in part)
    return isinstance(part, dict) and len(part) > 0


def entries(part: object) -> list[tuple[str | int, object]]:
    """(key, value) of a dict, (place, value) of a list of settings, else nothing."""
    if not holds_settings(part):
        return []
    return list(part.items() if isinstance(part, dict) else enumerate(part))


def parts(part: object, path: tuple = ()) -> dict[tuple, object]:
    """Each part below this one by its path; a list of plain values is one part.

    >>> parts(dict(a=dict(b=[1, 2]), c=[dict(type='X')]))
    {('a',): {'b': [1, 2]}, ('a', 'b'): [1, 2],
     ('c',): [{'type': 'X'}], ('c', 0): {'type': 'X'}, ('c', 0, 'type'): 'X'}
    """
    found = {}
    for key, value in entries(part):
        below = (*path, key)
        found[below] = value
        found |= parts(value, below)
    return found


def dotted(path: tuple) -> str:
    """The path as the command line has it: ('a', 0, 'b') is a.0.b."""
    return '.'.join(str(key) for key in path)


def find_part(config: dict, name: str) -> tuple[tuple, object]:
    """The path and the value of the part with this dotted name.

    >>> find_part(dict(hooks=[dict(type='X')]), 'hooks.0.type')
    (('hooks', 0, 'type'), 'X')

    Raises:
        ValueError: The config has no such part; the message has names that are like it.
    """
    found = {dotted(path): (path, value) for path, value in parts(config).items()}
    if name in found:
        return found[name]
    near = [other for other in found if other.endswith(f'.{name}')]
    near = near or difflib.get_close_matches(name, found, cutoff=0.7)
    known, above = config, name
    while '.' in above:
        above = above.rpartition('.')[0]
        if above in found:
            known = found[above][1]
            break
    else:
        above = 'the config'
    keys = ', '.join(str(key) for key, _ in entries(known))
    raise ValueError(
        f'there is no {name} in the config: '
        + (f'did you mean {" or ".join(near[:3])}? ' if near else '')
        + (f'{above} has {keys}' if keys else f'{above} is {known!r}')
    )


def leaf_configs(dataset: dict) -> list[dict]:
    """Configs of the data sets below wrappers.

    >>> leaf_configs(dict(type='RepeatDataset', dataset=dict(type='A')))
    [{'type': 'A'}]
    """
    if 'datasets' in dataset:
        return [leaf for part in dataset['datasets'] for leaf in leaf_configs(part)]
    return leaf_configs(dataset['dataset']) if 'dataset' in dataset else [dataset]
