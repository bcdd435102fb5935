"""Check data against the config before a training or a test starts."""

import os
from collections.abc import Mapping
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmseg.registry import DATASETS

from ...datasets.checks import inspect_streams, leaf_datasets, model_settings
from ...datasets.checks.inspect import report_findings
from ...datasets.checks.reading import read_all_files, read_some_masks
from ...datasets.content import ContentCache
from ...utils.model import unwrap

CACHE = 'check_data.json'
CHOICES = (True, False, 'full')


def check_training(
    runner, streams: Mapping[str, Any], allow_overlap: bool, check_data: bool | str
) -> None:
    """Check data and settings before a training, and refuse it if they do not fit.

    Reads headers and a bounded number of masks; with ``check_data='full'`` every file.
    Validation and test data are checked too; what is wrong with test data alone is a
    warning. The main process reads for all.

    Args:
        streams: Training dataset of each stream.
        check_data: Extent of the checks: True, False (nothing is checked) or
            ``'full'``.
    """
    if check_data not in CHOICES:
        raise ValueError(
            f'train_cfg.check_data must be one of {CHOICES}, but got {check_data!r}'
        )
    if not check_data:
        return
    datasets, evaluators = dict(streams), {}
    val_loop = getattr(runner, 'val_loop', None)
    if val_loop is not None:
        datasets['val'] = val_loop.dataloader.dataset
        evaluators['val_evaluator'] = val_loop.evaluator
    test = getattr(runner, '_test_dataloader', None)
    if _is_new(test, getattr(runner, 'cfg', None)):
        try:
            datasets['test'] = _built(test['dataset'])
        except Exception as error:  # training can do without
            runner.logger.warning(f'NOTE: the test data cannot be used: {error}')
    if test is not None:
        evaluators['test_evaluator'] = getattr(runner, '_test_evaluator', None)
    _check(runner, datasets, evaluators, allow_overlap, check_data == 'full')


def check_testing(runner) -> None:
    """Check the test data of ``runner.test()``, and refuse them if they do not fit.

    ``train_cfg.check_data=False`` leaves it out.
    """
    check_data = (runner.cfg.get('train_cfg') or {}).get('check_data', True)
    if not check_data:
        return
    loop = runner.test_loop
    datasets = dict(test=loop.dataloader.dataset)
    evaluators = dict(test_evaluator=loop.evaluator)
    _check(runner, datasets, evaluators, False, check_data == 'full')


def _check(runner, datasets, evaluators, allow_overlap: bool, full: bool) -> None:
    result: list = [None]
    if is_main_process():
        cache = ContentCache(os.path.join(runner.work_dir, CACHE)) if full else None
        settings = model_settings(unwrap(runner.model), evaluators)
        try:
            found = inspect_streams(
                datasets,
                settings,
                allow_overlap,
                read_all_files(cache) if full else read_some_masks,
            )
            result = [(found.problems, [*found.doubts, *found.notes])]
        except Exception as error:  # the other processes wait for an answer
            result = [error]
    broadcast_object_list(result)
    if isinstance(result[0], Exception):
        raise result[0]
    problems, warnings = result[0]
    report_findings(problems, warnings if is_main_process() else [], runner.logger)


def _is_new(test: Any, cfg: Any) -> bool:
    """Whether the test data are a config of their own, not that of the validation."""
    if not isinstance(test, Mapping) or not isinstance(test.get('dataset'), Mapping):
        return False
    val = (cfg or {}).get('val_dataloader') or {}
    return dict(test['dataset']) != dict(val.get('dataset') or {})


def _built(config: Any) -> Any:
    dataset = DATASETS.build(config)
    for leaf in leaf_datasets(dataset):
        if hasattr(leaf, 'full_init'):
            leaf.full_init()
    return dataset
