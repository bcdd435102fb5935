import json
import random

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS as ENGINE_DATASETS
from mmengine.runner import Runner
from mmengine.structures import PixelData
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from mmsemiseg.engine.hooks.audit import PseudoLabelAuditHook, kept_random_state
from mmsemiseg.evaluation import PseudoLabelAudit


class Images(torch.utils.data.Dataset):
    """Images that draw a random number from every generator when they are read."""

    metainfo = dict(classes=('dark', 'bright'))

    def __init__(self, length=5):
        self.length = length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        random.random(), np.random.rand(), torch.rand(1)
        image = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(index))
        sample = SegDataSample(gt_sem_seg=PixelData(data=(image > 0.5).long()))
        return dict(inputs=image, data_samples=sample)


ENGINE_DATASETS.register_module(module=Images, name='AuditTestImages', force=True)


class Threshold(nn.Module):
    """Says bright above ``border``; its dropout is there to see the mode."""

    def __init__(self, border):
        super().__init__()
        self.border = nn.Parameter(torch.tensor(border))
        self.norm = nn.BatchNorm2d(1, affine=False)
        self.dropout = nn.Dropout(0.5)

    def forward(self, images):
        self.norm(images)
        return self.dropout(torch.cat([self.border - images, images - self.border], 1))


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.networks = {'student': Threshold(0.9), 'teacher': Threshold(0.5)}
        self.student, self.teacher = self.networks.values()
        self.calls = []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        noise = torch.rand(()) + random.random() + np.random.rand()
        return dict(loss=self.student(torch.stack(inputs)).mean() * noise)

    def predict_as(self, name, inputs, data_samples):
        assert not self.training
        assert not torch.is_grad_enabled()
        self.calls.append(name)
        for image, sample in zip(inputs, data_samples, strict=True):
            logits = self.networks[name](100 * image[None])[0]
            sample.seg_logits = PixelData(data=logits)
        return data_samples


class Record(Hook):
    """What training looked like after each iteration, the audit included."""

    priority = 'LOWEST'

    def __init__(self):
        self.rows = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        assert runner.model.training
        self.rows.append(outputs['loss'].item())


def loader(length, batch_size):
    return dict(
        dataset=dict(type='AuditTestImages', length=length),
        sampler=dict(type='DefaultSampler', shuffle=False),
        batch_size=batch_size,
        num_workers=0,
    )


EVALUATOR = dict(type=PseudoLabelAudit, thresholds=(0.6,))


def train(work_dir, *hooks, max_iters=5):
    record = Record()
    runner = Runner(
        model=Model(),
        work_dir=str(work_dir),
        train_dataloader=loader(4, 2),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=max_iters),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[*hooks, record],
        randomness=dict(seed=3),
        experiment_name=f'audit_{work_dir.name}',
        default_scope='mmseg',
    )
    runner.train()
    return runner, record


def audit_hook(**settings):
    settings = dict(dataloader=loader(5, 2), evaluator=EVALUATOR, interval=2) | settings
    return HOOKS.build(dict(type='PseudoLabelAuditHook', **settings))


def test_runs_at_the_interval_and_at_the_end(tmp_path):
    runner, _ = train(tmp_path / 'a', audit_hook())
    # three batches in each audit, after iterations 2, 4 and 5
    assert runner.model.calls == ['teacher'] * 9
    values, _ = runner.message_hub.get_scalar('audit/pseudo/mIoU').data
    assert len(values) == 3


def test_the_metrics_are_those_of_the_named_network(tmp_path):
    teacher, _ = train(tmp_path / 'teacher', audit_hook(), max_iters=1)
    student, _ = train(tmp_path / 'student', audit_hook(network='student'), max_iters=1)
    scores = {}
    for name, runner in (('teacher', teacher), ('student', student)):
        hub = runner.message_hub
        scores[name] = hub.get_scalar('audit/pseudo/accuracy@0.6').current()
        assert runner.model.calls == [name] * 3
    # both borders see 100 x images, in [0, 100]: the share of bright truth
    truth = torch.stack([Images()[i]['inputs'] > 0.5 for i in range(5)])
    seen = torch.stack([100 * Images()[i]['inputs'] for i in range(5)])
    logits = torch.cat([0.5 - seen, seen - 0.5], 1)
    kept = logits.softmax(1).amax(1) >= 0.6
    right = logits.argmax(1)[kept] == truth[:, 0].long()[kept]
    assert scores['teacher'] == round(100 * right.float().mean().item(), 2)
    assert 0 < scores['student'] < 100


def test_training_is_the_same_as_without_it(tmp_path):
    with_audit, record = train(tmp_path / 'with', audit_hook(interval=1))
    without, plain = train(tmp_path / 'without')
    assert record.rows == plain.rows
    assert len(set(record.rows)) == 5
    state = without.model.state_dict()
    for key, value in with_audit.model.state_dict().items():
        assert value.equal(state[key]), key


def test_the_visualizer_gets_the_metrics(tmp_path):
    runner, _ = train(tmp_path / 'a', audit_hook(), max_iters=2)
    lines = (tmp_path / 'a').rglob('scalars.json')
    rows = [
        json.loads(line) for file in lines for line in file.read_text().splitlines()
    ]
    audits = [row for row in rows if 'audit/pseudo/mIoU' in row]
    assert [row['step'] for row in audits] == [2]
    current = runner.message_hub.get_scalar('audit/pseudo/mIoU').current()
    assert audits[0]['audit/pseudo/mIoU'] == current


def test_a_network_that_the_model_lacks_is_refused_before_training(tmp_path):
    with pytest.raises(ValueError, match=r"\['student', 'teacher', 'mean'\].*'ema'"):
        train(tmp_path / 'a', audit_hook(network='ema'))


def test_settings_are_checked():
    with pytest.raises(ValueError, match='interval must be an integer >= 1, but got 0'):
        PseudoLabelAuditHook(dict(), dict(), interval=0)


def test_random_state_is_kept_also_on_an_error():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    expected = draw()
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    with pytest.raises(KeyError), kept_random_state():
        draw()
        raise KeyError
    assert draw() == expected
