"""The configs of the repository, and what several of their tests read in them."""

import copy
import functools
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS, init_default_scope
from torch.optim import SGD

ROOT = Path(__file__).resolve().parents[1] / 'configs'
PATHS = sorted(p for p in ROOT.rglob('*.py') if '_base_' not in p.parts)


def stem_of(path):
    """Of the tests that take each config."""
    return path.stem


@functools.cache
def _read(path):
    return Config.fromfile(path)


def load(path):
    """A config that a test may change: each file is read once."""
    cfg = copy.deepcopy(_read(Path(path)))
    init_default_scope(cfg.get('default_scope', 'mmseg'))
    return cfg


def named(name):
    """The config of this name, in whatever folder it is."""
    (path,) = (path for path in PATHS if path.stem == name)
    return load(path)


def schedulers(cfg, max_iters):
    """As the runner builds them, for a run of this length."""
    wrapper = OptimWrapper(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    args = dict(optimizer=wrapper)
    settings = [dict(dict(end=max_iters), **one) for one in cfg.param_scheduler]
    return [PARAM_SCHEDULERS.build(one, default_args=args) for one in settings]
