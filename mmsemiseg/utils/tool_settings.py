"""What the tools of MMSegmentation look for in a config, from its test data."""

from collections.abc import Mapping

from mmengine.config import Config

from .tta import ANNOTATIONS, augmented, can_augment, step_types, without_masks


def find_pipeline(dataset: Mapping | None) -> list | None:
    """Pipeline of a data set, also of the first one in wrappers.

    >>> find_pipeline(dict(datasets=[dict(dataset=dict(pipeline=['a']))]))
    ['a']
    """
    if not dataset or 'pipeline' in dataset:
        return dataset and dataset['pipeline']
    return find_pipeline(
        dataset.get('dataset') or (dataset.get('datasets') or [None])[0]
    )


def complete_config(cfg: Config) -> None:
    """Add what MMSegmentation reads off a config, where it is missing.

    ``inference_model`` takes ``test_pipeline``; ``--tta`` of the test tool takes
    ``tta_pipeline`` and ``tta_model``. They follow from the test data, or where the
    config tests nothing, from the validation data.
    """
    loaders = [cfg.get(f'{part}_dataloader') or {} for part in ('test', 'val')]
    found = [find_pipeline(loader.get('dataset')) for loader in loaders]
    pipeline = found[0] or found[1] or cfg.get('test_pipeline')
    if not pipeline or 'TestTimeAug' in step_types(pipeline):
        return
    if not cfg.get('test_pipeline'):
        cfg.test_pipeline = pipeline
    if not cfg.get('tta_pipeline') and can_augment(pipeline):
        cfg.tta_pipeline = augmented(pipeline)
    if not cfg.get('tta_model'):
        cfg.tta_model = dict(type='SegTTAModel')


def use_tta(cfg: Config) -> None:
    """Let a config test with several scales and flips.

    Raises:
        ValueError: It has no ``tta_pipeline``, and none follows from its test data; or
            these are several data sets.
    """
    complete_config(cfg)
    dataset = cfg.test_dataloader.dataset
    if 'pipeline' not in dataset:
        raise ValueError(f'--tta tests one data set, but test_dataloader has {dataset}')
    if not cfg.get('tta_pipeline'):
        raise ValueError(
            'the config has no tta_pipeline, and --tta can make one only where all of '
            'test_dataloader.dataset.pipeline but packing is done before the masks are '
            f'loaded, but it is {step_types(dataset.pipeline)}: set tta_pipeline'
        )
    labeled = ANNOTATIONS in step_types(dataset.pipeline)
    steps = cfg.tta_pipeline
    dataset.pipeline = steps if labeled else without_masks(steps)
    cfg.model = dict(cfg.tta_model, module=cfg.model)
