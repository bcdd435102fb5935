"""mIoU with the IoU of each class among the returned metrics."""

from collections.abc import Sequence

import numpy as np
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class PerClassIoUMetric(IoUMetric):
    """:class:`IoUMetric` that also returns ``IoU.<class>``, in percent.

    So the loggers write the curve of each class. A class that neither the truth nor
    the prediction holds has no IoU and is left out (unless ``nan_to_num`` is set).
    Unlike :class:`IoUMetric`, an unknown setting is an error.

    Args:
        per_class: Whether to return the classes; False equals :class:`IoUMetric`.
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
    ) -> None:
        if isinstance(iou_metrics, str):
            iou_metrics = [iou_metrics]
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

    def compute_metrics(self, results: list) -> dict[str, float]:
        metrics = super().compute_metrics(results)
        if not self.per_class or self.format_only or 'mIoU' not in self.metrics:
            return metrics
        areas = [sum(area) for area in zip(*results, strict=True)]
        iou = self.total_area_to_metrics(*areas, ['mIoU'], self.nan_to_num)['IoU']
        for name, value in zip(self.dataset_meta['classes'], iou, strict=True):
            if np.isfinite(value):
                metrics[f'IoU.{name}'] = np.round(value * 100, 2)
        return metrics
