"""The data sets of a config, for figures."""

from mmengine.config import Config
from mmseg.registry import DATASETS

from ..utils.config_parts import leaf_configs


def evaluation_sets(cfg: Config) -> list:
    """The test data sets below wrappers; their files are not looked for yet."""
    if cfg.get('test_dataloader') is None:
        raise ValueError('the config has no test_dataloader')
    return lazy_datasets(cfg.test_dataloader.dataset)


def lazy_datasets(cfg: dict) -> list:
    return [DATASETS.build(dict(leaf, lazy_init=True)) for leaf in leaf_configs(cfg)]


def dataset_infos(datasets: list) -> list[dict]:
    for dataset in datasets:
        dataset.full_init()
    return [data.get_data_info(i) for data in datasets for i in range(len(data))]
