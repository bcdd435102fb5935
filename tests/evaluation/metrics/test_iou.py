import json

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmsemiseg.evaluation import PerClassIoUMetric

CLASSES = ('road', 'car', 'pole')


def samples(seed=0, classes=3, n=3):
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        truth = torch.randint(0, classes, (1, 6, 7), generator=g)
        truth[torch.rand(1, 6, 7, generator=g) < 0.1] = 255
        label = torch.randint(0, classes, (1, 6, 7), generator=g)
        out.append({'pred_sem_seg': {'data': label}, 'gt_sem_seg': {'data': truth}})
    return out


def evaluate(metric, data):
    metric.dataset_meta = {'classes': CLASSES}
    for sample in data:
        metric.process({}, [sample])
    return metric.evaluate(len(data))


def test_adds_the_classes_and_changes_nothing_else():
    data = samples()
    plain = evaluate(IoUMetric(iou_metrics=['mIoU', 'mFscore']), data)
    mine = evaluate(PerClassIoUMetric(iou_metrics=['mIoU', 'mFscore']), data)
    added = {f'IoU.{name}' for name in CLASSES}
    assert set(mine) - set(plain) == added
    assert {key: mine[key] for key in plain} == plain
    assert np.mean([mine[key] for key in added]) == pytest.approx(
        mine['mIoU'], abs=0.01
    )
    assert evaluate(PerClassIoUMetric(per_class=False), data) == {
        key: plain[key] for key in ('aAcc', 'mIoU', 'mAcc')
    }


def test_by_hand():
    truth = torch.tensor([[[0, 0, 0, 1, 255]]])
    label = torch.tensor([[[0, 0, 1, 1, 1]]])
    data = [{'pred_sem_seg': {'data': label}, 'gt_sem_seg': {'data': truth}}]
    metrics = evaluate(PerClassIoUMetric(), data)
    assert metrics['IoU.road'] == pytest.approx(66.67)
    assert metrics['IoU.car'] == pytest.approx(50)
    # absent from truth and prediction
    assert 'IoU.pole' not in metrics
    assert metrics['mIoU'] == pytest.approx(58.33)
    assert evaluate(PerClassIoUMetric(nan_to_num=0), data)['IoU.pole'] == 0


def test_metrics_are_scalars_for_the_loggers(tmp_path):
    metrics = evaluate(PerClassIoUMetric(prefix='city'), samples())
    hub = MessageHub.get_instance('test_per_class_iou')
    for key, value in metrics.items():
        assert key.startswith('city/')
        hub.update_scalar(f'val/{key}', value)
    assert hub.get_scalar('val/city/IoU.car').current() == metrics['city/IoU.car']
    assert json.dumps({key: float(value) for key, value in metrics.items()})


def test_without_iou_and_without_evaluation_nothing_is_added(tmp_path):
    assert 'IoU.car' not in evaluate(PerClassIoUMetric(iou_metrics='mDice'), samples())
    metric = PerClassIoUMetric(format_only=True, output_dir=str(tmp_path))
    data = [dict(sample, img_path='a.png') for sample in samples(n=1)]
    metric.dataset_meta = {'classes': CLASSES}
    metric.process({}, data)
    assert metric.compute_metrics([]) == {}
    assert (tmp_path / 'a.png').is_file()
    with pytest.raises(ValueError, match='format_only=True needs output_dir'):
        PerClassIoUMetric(format_only=True)


def test_registered_and_strict():
    assert isinstance(METRICS.build({'type': 'PerClassIoUMetric'}), IoUMetric)
    with pytest.raises(TypeError, match='iou_metric'):
        PerClassIoUMetric(iou_metric=['mIoU'])


def named(data):
    return [dict(one, img_path=f'data/val/{k}/a.png') for k, one in enumerate(data)]


def write_list(path, names):
    path.write_text('\n'.join(names))
    return str(path)


def test_subsets_are_evaluated_by_themselves(tmp_path):
    data = named(samples(n=4))
    subsets = dict(
        choose=write_list(tmp_path / 'a.txt', ['0/a', '2/a']),
        report=write_list(tmp_path / 'b.txt', ['# half', '1/a.png', 'val/3/a']),
    )
    metric = PerClassIoUMetric(subsets=subsets)
    found = evaluate(metric, data)
    assert set(found) - set(metric.metric_names()) == set()
    whole = evaluate(PerClassIoUMetric(), data)
    assert {key: found[key] for key in whole} == whole
    assert set(found) - set(whole) == {'choose.mIoU', 'report.mIoU'}
    for name, part in (('choose', data[0::2]), ('report', data[1::2])):
        assert found[f'{name}.mIoU'] == evaluate(PerClassIoUMetric(), part)['mIoU']


def test_a_subset_of_images_that_are_not_there(tmp_path):
    subsets = dict(half=write_list(tmp_path / 'a.txt', ['0/a', '9/a']))
    with pytest.raises(ValueError, match=r"subset 'half'.*a\.txt names images.*9/a"):
        evaluate(PerClassIoUMetric(subsets=subsets), named(samples()))
    with pytest.raises(ValueError, match='names no image'):
        PerClassIoUMetric(subsets=dict(half=write_list(tmp_path / 'b.txt', [])))
    with pytest.raises(FileNotFoundError, match=r'c\.txt'):
        PerClassIoUMetric(subsets=dict(half=str(tmp_path / 'c.txt')))
