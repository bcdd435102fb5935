from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmseg.evaluation import CityscapesMetric, IoUMetric

from mmsemiseg.evaluation.metric_names import check_metric, metric_names
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


def loop(networks=None, *metrics):
    evaluator = Evaluator(list(metrics or [IoUMetric()]))
    return SimpleNamespace(networks=networks, evaluator=evaluator)


@pytest.mark.parametrize(
    ('networks', 'name', 'text'),
    [
        (['student', 'teacher'], 'studnt/mIoU', r"mean 'student'\?"),
        (['student'], 'mIoU', 'of a validated network, such as student/mIoU,'),
        (['student'], 'mIou', 'such as student/mIoU,'),
        (['student'], 'teacher/mIoU', r"of \['student'\], but got 'teacher/mIoU'"),
        (['student'], 'student/mIou', r"gives no 'mIou'.*did you mean 'mIoU'\?"),
        (['student'], 'student/mDice', r"only \['aAcc', 'mIoU', 'mAcc'\]"),
        (None, 'mDice', "gives no 'mDice'"),
    ],
)
def test_a_metric_that_will_not_come(networks, name, text):
    with pytest.raises(ValueError, match=text) as error:
        check_metric(loop(networks), 'save_best', name)
    assert str(error.value).startswith('save_best')


def test_a_metric_that_comes():
    check_metric(loop(['student']), 'a', 'student/mIoU')
    check_metric(loop(), 'a', 'mAcc')
    check_metric(loop(None, IoUMetric(prefix='val')), 'a', 'val/mAcc')
    check_metric(loop(['student'], IoUMetric(), SimpleNamespace()), 'a', 'student/own')
