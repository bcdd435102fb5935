"""Accuracy of pseudo labels against truth that training never sees."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmseg.registry import METRICS
from prettytable import PrettyTable
from torch import Tensor

from ...functional import PseudoLabel, pseudo_label


@METRICS.register_module()
class PseudoLabelAudit(BaseMetric):
    """Accuracy and coverage of the pseudo labels that a threshold keeps.

    Add it to the ``evaluator`` of a ``PseudoLabelAuditHook``. The label of a pixel is
    the most probable class, its confidence that probability (see
    :func:`~mmsemiseg.functional.pseudo_label`); a pixel is kept if its confidence is at
    least the threshold. Pixels whose true label is ``ignore_index`` are left out. All
    values are in percent, for each threshold t:

    - ``accuracy@t``: the share of the kept pixels whose label is right;
    - ``coverage@t``: the share of the pixels that are kept;
    - ``accuracy.<class>@t``, ``coverage.<class>@t``: the same among the pixels
      *labeled* as that class, so accuracy is the precision of its pseudo labels;
    - ``mIoU`` of all labels, without threshold;
    - ``ece``: the expected calibration error, where ``calibration_bins`` is set.

    A value without pixels (nothing kept, class never labeled) is left out.

    Args:
        thresholds: Confidence threshold t, or several, each in [0, 1].
        calibration_bins: Number of equal bins of confidence; 0 leaves ``ece`` out.
        ignore_index: Value of pixels without a label in the true masks.
        collect_device: Device on which distributed results are gathered, 'cpu' or
            'gpu'.
        prefix: Prefix of the names of the metrics.
    """

    default_prefix = 'pseudo'

    def __init__(
        self,
        thresholds: float | Sequence[float] = (0.95,),
        calibration_bins: int = 0,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if isinstance(thresholds, (int, float)):
            thresholds = (thresholds,)
        if not thresholds or not all(0 <= t <= 1 for t in thresholds):
            raise ValueError(
                'thresholds must be one or more numbers in [0, 1], '
                f'but got {thresholds}'
            )
        if calibration_bins < 0:
            raise ValueError(
                f'calibration_bins must be at least 0, but got {calibration_bins}'
            )
        self.thresholds = tuple(thresholds)
        self.calibration_bins = calibration_bins
        self.ignore_index = ignore_index

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Count the pixels of each image; the counts are (rows, C) and (3, bins)."""
        for sample in data_samples:
            if 'gt_sem_seg' not in sample:
                raise ValueError(
                    'PseudoLabelAudit needs the truth of each image: load it with '
                    'LoadAnnotations in the pipeline of its dataset'
                )
            pseudo = pseudo_label(sample['seg_logits']['data'][None])
            truth = sample['gt_sem_seg']['data'].to(pseudo.label)
            self.results.append(
                (
                    self._class_counts(pseudo, truth),
                    self._calibration_counts(pseudo, truth),
                )
            )

    def _class_counts(self, pseudo: PseudoLabel, truth: Tensor) -> Tensor:
        """Rows: pixels by truth, then (kept, right) by label for 0 and each t."""
        classes = len(self._classes())
        counted = truth != self.ignore_index
        right = counted & (truth == pseudo.label)
        rows = [torch.bincount(truth[counted], minlength=classes)]
        for threshold in (0, *self.thresholds):
            kept = pseudo.confidence >= threshold
            for pixels in (counted & kept, right & kept):
                rows.append(torch.bincount(pseudo.label[pixels], minlength=classes))
        return torch.stack(rows).cpu()

    def _calibration_counts(self, pseudo: PseudoLabel, truth: Tensor) -> Tensor:
        """Rows: right pixels and confidence by bin."""
        bins = self.calibration_bins
        counted = truth != self.ignore_index
        confidence = pseudo.confidence[counted].double()
        index = (confidence * bins).long().clamp(max=max(bins - 1, 0))
        right = (truth == pseudo.label)[counted].double()
        sums = [torch.bincount(index, v, minlength=bins) for v in (right, confidence)]
        return torch.stack(sums).cpu()

    def _classes(self) -> Sequence[str]:
        return self.dataset_meta['classes']

    def compute_metrics(self, results: list) -> dict[str, float]:
        if not results:
            raise ValueError('PseudoLabelAudit got no image: its dataset is empty')
        counts, calibration = (sum(parts) for parts in zip(*results, strict=True))
        counts = counts.double()
        truth, total, intersect = counts[:3]
        metrics = {'mIoU': _percent(intersect, truth + total - intersect).nanmean()}
        if self.calibration_bins:
            right, confidence = calibration
            metrics['ece'] = _percent((right - confidence).abs().sum(), total.sum())
        columns = [('', counts.sum(1)), *zip(self._classes(), counts.T, strict=True)]
        table = PrettyTable(['threshold', 'class', 'labeled', 'coverage', 'accuracy'])
        for row, threshold in enumerate(self.thresholds):
            for name, column in columns:
                labeled, (kept, right) = column[1], column[3 + 2 * row : 5 + 2 * row]
                coverage, accuracy = _percent(kept, labeled), _percent(right, kept)
                end = f'.{name}@{threshold:g}' if name else f'@{threshold:g}'
                metrics[f'coverage{end}'] = coverage
                metrics[f'accuracy{end}'] = accuracy
                values = (_percent(labeled, total.sum()), coverage, accuracy)
                cells = [f'{value:.2f}' for value in values]
                table.add_row([f'{threshold:g}', name or 'all', *cells])
        MMLogger.get_current_instance().info(f'pseudo labels:\n{table}')
        return {k: round(v.item(), 2) for k, v in metrics.items() if not v.isnan()}


def _percent(part: Tensor, whole: Tensor) -> Tensor:
    """100 part / whole; NaN where whole is 0."""
    return 100 * part / whole
