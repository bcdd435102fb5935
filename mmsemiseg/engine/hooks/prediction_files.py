"""File names and numbering for the metrics that write label maps."""

from collections.abc import Iterator

from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from ...datasets.image_names import base_names, check_unique, image_names


@HOOKS.register_module()
class PredictionFilesHook(Hook):
    """Tell the metrics that write label maps the names of files and the class values.

    :class:`~mmsemiseg.engine.runner.SemiRunner` adds this hook. Before the first image
    is predicted it tells ``PerClassIoUMetric`` the sub-folder of each image, and
    whether the model was trained with ``reduce_zero_label``, so that label maps have
    the values of the masks. Other metrics with an ``output_dir`` name a file like its
    image and drop the folder of the image: for these, two images of one name are an
    error.
    """

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._trained: dict = {}

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        meta = checkpoint.get('meta') or {}
        self._trained = meta.get('dataset_meta') or {}

    def before_train(self, runner) -> None:
        self._trained = getattr(runner.train_dataloader.dataset, 'metainfo', {})

    def before_val(self, runner) -> None:
        self._prepare(runner.val_loop)

    def before_test(self, runner) -> None:
        self._prepare(runner.test_loop)

    def _prepare(self, loop) -> None:
        metrics = [m for m in _metrics(loop) if getattr(m, 'output_dir', None)]
        if not metrics:
            return
        dataset = loop.dataloader.dataset
        names = image_names(dataset)
        for metric in metrics:
            if hasattr(metric, 'label_maps'):
                metric.label_maps.prepare(names, self._trained)
            else:
                self._check_foreign(metric, dataset, names)

    def _check_foreign(self, metric, dataset, names: dict[str, str]) -> None:
        kind = type(metric).__name__
        remedy = "Set type='PerClassIoUMetric' in the evaluator"
        check_unique(
            base_names(names),
            f'{kind} leaves out the folder of an image. {remedy}, which keeps it',
        )
        shifted = self._trained.get('reduce_zero_label')
        if shifted and 'reduce_zero_label' not in dataset.metainfo:
            raise ValueError(
                f'{kind} would write class 0 as 0, but the masks that the model was '
                'trained on have reduce_zero_label=True, and class 0 is 1 in them. '
                f'{remedy}, which writes the numbers of the masks'
            )


def _metrics(loop) -> Iterator:
    evaluators = getattr(loop, 'evaluators', None) or dict(all=loop.evaluator)
    for evaluator in evaluators.values():
        yield from evaluator.metrics
