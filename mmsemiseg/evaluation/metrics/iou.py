"""mIoU with the IoU of each class among the returned metrics."""

import os
from collections.abc import Sequence

import numpy as np
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from ...datasets.files import name_some, read_names, strip_suffix
from ..label_maps import LabelMapWriter
from ..metric_names import iou_names


@METRICS.register_module()
class PerClassIoUMetric(IoUMetric):
    """:class:`IoUMetric` that also returns ``IoU.<class>``, in percent.

    So loggers can draw a curve for each class. A class that is neither in the true
    masks nor in the predictions has no IoU and is left out (unless ``nan_to_num`` is
    set). Unlike :class:`IoUMetric`, an unknown setting is an error, and the label maps
    in ``output_dir`` keep the sub-folders of their images and have one numbering for
    all data sets. All other settings are those of :class:`IoUMetric`.

    Args:
        per_class: Whether to return the IoU of each class; False equals
            :class:`IoUMetric`.
        output_dir: Folder to which predicted label maps are written; None: none are.
        numbering: Values of the label maps. ``'masks'``: those of the masks of the data
            set or, if it has none, of the training data: with ``reduce_zero_label``
            class k is k + 1. ``'classes'``: class k is k.
        keep_results: Setting of MMSegmentation's test tool, without effect: label maps
            are always kept.
        subsets: List file of each named subset of the images, as ``ann_file`` has them.
            The mIoU of a subset is returned as ``<name>.mIoU``, so that settings can be
            chosen on one subset of the validation images and reported on another.

    Raises:
        FileNotFoundError: The list file of a subset does not exist.
        ValueError: At the evaluation, where a list names an image that was not there.
    """

    def __init__(
        self,
        per_class: bool = True,
        ignore_index: int = 255,
        iou_metrics: Sequence[str] = ('mIoU',),
        nan_to_num: int | None = None,
        beta: int = 1,
        collect_device: str = 'cpu',
        output_dir: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        numbering: str = 'masks',
        keep_results: bool = True,
        subsets: dict[str, str] | None = None,
    ) -> None:
        if isinstance(iou_metrics, str):
            iou_metrics = [iou_metrics]
        if format_only and output_dir is None:
            raise ValueError('format_only=True needs output_dir, but it is None')
        super().__init__(
            ignore_index=ignore_index,
            iou_metrics=list(iou_metrics),
            nan_to_num=nan_to_num,
            beta=beta,
            collect_device=collect_device,
            output_dir=output_dir,
            format_only=format_only,
            prefix=prefix,
        )
        self.per_class = per_class
        self.label_maps = LabelMapWriter(numbering)
        self.subsets = {n: Subset(n, file) for n, file in (subsets or {}).items()}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        folder, self.output_dir = self.output_dir, None  # whose files are written here
        try:
            super().process(data_batch, data_samples)
        finally:
            self.output_dir = folder
        if self.subsets and not self.format_only:
            count = len(data_samples)
            self.results[-count:] = [
                (*areas, sample['img_path'])
                for areas, sample in zip(
                    self.results[-count:], data_samples, strict=True
                )
            ]
        for sample in data_samples if folder else ():
            label = sample['pred_sem_seg']['data'].squeeze(0).cpu().numpy()
            self.label_maps.write(folder, sample['img_path'], label, self.dataset_meta)

    def metric_names(self) -> list[str]:
        """Names that will be returned, with classes that may have no IoU."""
        names = iou_names(self)
        if self.per_class and names and 'mIoU' in self.metrics:
            names += [f'IoU.{name}' for name in self.dataset_meta['classes']]
        return names + [f'{name}.mIoU' for name in self.subsets if names]

    def compute_metrics(self, results: list) -> dict[str, float]:
        if self.format_only:
            print_log(f'label maps are in {self.output_dir}', 'current')
            return {}
        parts = self._of_subsets(results)
        metrics = super().compute_metrics([areas[:4] for areas in results])
        if self.per_class and 'mIoU' in self.metrics:
            iou = self._class_iou(results)
            for name, value in zip(self.dataset_meta['classes'], iou, strict=True):
                if np.isfinite(value):
                    metrics[f'IoU.{name}'] = np.round(value * 100, 2)
        for name, part in parts.items():
            mean = np.nanmean(self._class_iou(part))
            metrics[f'{name}.mIoU'] = np.round(mean * 100, 2)
        return metrics

    def _of_subsets(self, results: list) -> dict[str, list]:
        paths = [result[-1] for result in results] if self.subsets else []
        return {
            name: [results[index] for index in subset.find(paths)]
            for name, subset in self.subsets.items()
        }

    def _class_iou(self, results: list) -> np.ndarray:
        areas = [sum(area) for area in zip(*(r[:4] for r in results), strict=True)]
        return self.total_area_to_metrics(*areas, ['mIoU'], self.nan_to_num)['IoU']


class Subset:
    """A named part of the images, which a list file names."""

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.file = file
        names = [name for _, name in read_names(file)]
        self.stems = {strip_suffix(name) or name for name in names}
        if not self.stems:
            raise ValueError(f'subsets of PerClassIoUMetric: {file} names no image')

    def find(self, paths: Sequence[str]) -> list[int]:
        """Indices of the images of the subset.

        Raises:
            ValueError: The subset has an image that is not among ``paths``.
        """
        found = {}
        for index, path in enumerate(paths):
            stem = strip_suffix(path) or path
            parts = stem.replace(os.sep, '/').split('/')
            ends = {'/'.join(parts[start:]) for start in range(len(parts))}
            for stem in ends & self.stems:
                found[stem] = index
        missing = sorted(self.stems - set(found))
        if missing:
            raise ValueError(
                f'subset {self.name!r} of PerClassIoUMetric: {self.file} names images '
                f'that were not evaluated: {name_some(missing)}'
            )
        return sorted(found.values())
