import math

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmsemiseg.evaluation import PseudoLabelAudit

CLASSES = ('road', 'car', 'pole')


def sample(logits, truth):
    out = SegDataSample()
    out.seg_logits = PixelData(data=logits)
    if truth is not None:
        out.gt_sem_seg = PixelData(data=truth)
    return out


def evaluate(metric, samples):
    evaluator = Evaluator(metric)
    evaluator.dataset_meta = {'classes': CLASSES}
    for one in samples:
        evaluator.process([one])
    return evaluator.evaluate(len(samples))


def random_samples(seed=0, n=3):
    g = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(n):
        truth = torch.randint(0, 3, (1, 5, 6), generator=g)
        truth[torch.rand(1, 5, 6, generator=g) < 0.2] = 255
        out.append(sample(4 * torch.randn(3, 5, 6, generator=g), truth))
    return out


def pixels(samples):
    """(label, confidence, truth) of every pixel that counts."""
    for one in samples:
        logits, truth = one.seg_logits.data, one.gt_sem_seg.data[0]
        for y in range(5):
            for x in range(6):
                if truth[y, x] != 255:
                    exps = [math.exp(v) for v in logits[:, y, x].tolist()]
                    best = max(range(3), key=exps.__getitem__)
                    yield best, exps[best] / sum(exps), truth[y, x].item()


def percent(part, whole):
    return pytest.approx(100 * part / whole, abs=0.006)


@pytest.mark.parametrize('seed', range(4))
def test_equals_the_slow_reference(seed):
    samples = random_samples(seed)
    metrics = evaluate(PseudoLabelAudit(thresholds=(0.5, 0.9)), samples)
    rows = list(pixels(samples))
    for t in (0.5, 0.9):
        kept = [row for row in rows if row[1] >= t]
        assert metrics[f'pseudo/coverage@{t}'] == percent(len(kept), len(rows))
        right = sum(label == truth for label, _, truth in kept)
        assert metrics[f'pseudo/accuracy@{t}'] == percent(right, len(kept))
        for k, name in enumerate(CLASSES):
            mine = [row for row in kept if row[0] == k]
            total = sum(row[0] == k for row in rows)
            right = sum(truth == k for _, _, truth in mine)
            assert metrics[f'pseudo/coverage.{name}@{t}'] == percent(len(mine), total)
            assert metrics[f'pseudo/accuracy.{name}@{t}'] == percent(right, len(mine))
    iou = []
    for k in range(3):
        both = sum(label == truth == k for label, _, truth in rows)
        iou.append(both / sum(k in (label, truth) for label, _, truth in rows))
    assert metrics['pseudo/mIoU'] == percent(sum(iou), 3)
    assert 'pseudo/ece' not in metrics


def certain(label, confidence):
    """Logits of two equally likely other classes and one of that confidence."""
    logits = torch.full((3,), math.log((1 - confidence) / 2))
    logits[label] = math.log(confidence)
    return logits


def by_hand():
    # label, confidence, truth: road right, road wrong, car right but unsure, ignored
    rows = [(0, 0.95, 0), (0, 0.85, 1), (1, 0.65, 1), (0, 0.95, 255)]
    logits = torch.stack([certain(label, c) for label, c, _ in rows], 1).view(3, 1, 4)
    return sample(logits, torch.tensor([[[truth for _, _, truth in rows]]]))


def test_by_hand():
    metrics = evaluate(PseudoLabelAudit(0.7, calibration_bins=10), [by_hand()])
    assert metrics == {
        'pseudo/coverage@0.7': 66.67,
        'pseudo/accuracy@0.7': 50,
        'pseudo/coverage.road@0.7': 100,
        'pseudo/accuracy.road@0.7': 50,
        'pseudo/coverage.car@0.7': 0,
        # no car is kept, no pole is labeled: neither has a value
        'pseudo/mIoU': 50,
        # |1 - .95|, |0 - .85|, |1 - .65| in three bins of one pixel each
        'pseudo/ece': pytest.approx(100 * (0.05 + 0.85 + 0.35) / 3, abs=0.006),
    }


def test_certain_pixels_fall_into_the_last_bin():
    logits = torch.tensor([100.0, 0.0, 0.0]).view(3, 1, 1)
    metrics = evaluate(
        PseudoLabelAudit(1.0, calibration_bins=10),
        [sample(logits, torch.zeros(1, 1, 1, dtype=torch.long))],
    )
    assert metrics['pseudo/coverage@1'] == metrics['pseudo/accuracy@1'] == 100
    assert metrics['pseudo/ece'] == 0


def test_images_without_any_truth_leave_all_values_out():
    ignored = torch.full((1, 5, 6), 255)
    metrics = evaluate(PseudoLabelAudit(), [sample(torch.randn(3, 5, 6), ignored)])
    assert metrics == {}


def test_several_images_count_as_one():
    samples = random_samples(1)
    once = evaluate(PseudoLabelAudit(0.5), samples)
    assert evaluate(PseudoLabelAudit(0.5), samples + samples) == once


def test_bad_settings_and_missing_truth_are_named():
    with pytest.raises(ValueError, match=r'thresholds must .* but got \(0.5, 2\)'):
        PseudoLabelAudit((0.5, 2))
    with pytest.raises(ValueError, match=r'thresholds must .* but got \(\)'):
        PseudoLabelAudit(())
    with pytest.raises(ValueError, match='calibration_bins .* but got -1'):
        PseudoLabelAudit(calibration_bins=-1)
    with pytest.raises(ValueError, match='LoadAnnotations'):
        evaluate(PseudoLabelAudit(), [sample(torch.randn(3, 2, 2), None)])
    with pytest.raises(ValueError, match='at least 2 logit channels'):
        evaluate(
            PseudoLabelAudit(),
            [sample(torch.rand(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.long))],
        )
    assert isinstance(METRICS.build({'type': 'PseudoLabelAudit'}), PseudoLabelAudit)
