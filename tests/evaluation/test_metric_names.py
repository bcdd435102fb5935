import pytest
import torch
from mmseg.evaluation import CityscapesMetric, IoUMetric

from mmsemiseg.evaluation.metric_names import metric_names
from mmsemiseg.evaluation.metrics import PerClassIoUMetric

META = dict(classes=('road', 'sky'), palette=[[0] * 3, [9] * 3])


@pytest.mark.parametrize('kind', [IoUMetric, PerClassIoUMetric])
@pytest.mark.parametrize('kinds', [['mIoU'], ['mDice', 'mFscore'], ['mFscore', 'mIoU']])
def test_names_are_those_that_come(kind, kinds):
    metric = kind(iou_metrics=kinds, prefix='val')
    metric.dataset_meta = META
    label = torch.tensor([[0, 1]])
    metric.results = [metric.intersect_and_union(label, label, 2, 255)]
    given = metric.evaluate(1)
    assert sorted(metric_names([metric])) == sorted(given)


def test_what_cannot_be_known():
    metric = IoUMetric()
    assert metric_names([metric, object()]) is None
    assert metric_names([]) == []
    assert metric_names([IoUMetric(format_only=True, output_dir='x')]) == []
    assert type(metric) is not CityscapesMetric
