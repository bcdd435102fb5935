"""Scores of a run over its seeds, from the logs."""

import re
from pathlib import Path

import numpy as np

from ..utils.logs import read_scalars


def read_run(text: str, metric: str) -> tuple[str, dict[int, dict]]:
    """``NAME=FOLDER[:NETWORK]`` -> name and {seed: {step: {metric: value}}}."""
    match = re.fullmatch(r'([^=]+)=(.+?)(?::([a-z0-9]+))?', text)
    if match is None:
        raise ValueError(f'a run must be NAME=FOLDER[:NETWORK], but got {text!r}')
    name, folder, network = match.groups()
    prefix = f'{network or "student"}/'
    seeds, networks = {}, set()
    for path in sorted(Path(folder).glob('seed*')):
        records = read_scalars(path)
        found = (key.rpartition('/') for record in records for key in record)
        networks.update(network for network, _, key in found if key == metric)
        curve = {
            record['step']: {
                key.removeprefix(prefix): value
                for key, value in record.items()
                if key.startswith(prefix)
            }
            for record in records
            if f'{prefix}{metric}' in record
        }
        if curve:
            seeds[int(path.name.removeprefix('seed'))] = curve
    if not seeds:
        there = f', but {metric} of {sorted(networks)}' if networks else ''
        raise ValueError(
            f'{folder} holds no seed*/ folder with {prefix}{metric}{there}'
        )
    return name, seeds


def spread(scores: np.ndarray, sign: str = '') -> str:
    if len(scores) == 1:
        return f'{scores[0]:{sign}.1f}'
    return f'{scores.mean():{sign}.1f} ± {scores.std(ddof=1):.1f}'
