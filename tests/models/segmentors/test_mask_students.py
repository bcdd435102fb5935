"""Methods whose student classifies masks or points."""

import pytest
import torch
from cac_crops import crop_pair
from helpers import CLASSES, batch, build, streams, total
from mmseg.registry import MODELS
from op_heads import MASKS, mask_student, needs_ops, op_student
from tiny_run import config, differing, train, weights, write_data
from torch.testing import assert_close

from mmsemiseg.functional import score_logits
from mmsemiseg.utils.export import export_network

SIZE = (64, 96)
METHODS = ('SupOnly', 'MeanTeacher', 'FixMatch')
pytestmark = needs_ops


def make(name, method='MeanTeacher', **settings):
    student = op_student(name, CLASSES)
    return build(dict(type=method, student=student, **settings))


@pytest.mark.parametrize('name', [*MASKS, 'pointrend'])
@pytest.mark.parametrize('method', METHODS)
def test_trains_and_predicts(name, method):
    model = make(name, method).train()
    inputs = streams(size=SIZE)
    if method != 'SupOnly':
        model.pseudo_loss.threshold = 0.0
    losses = model.loss(inputs)
    total(losses).backward()
    missing = [n for n, p in model.student.named_parameters() if p.grad is None]
    assert missing == []
    if method == 'SupOnly':
        assert 'loss_unsup' not in losses
    else:
        assert losses['loss_unsup'] > 0
    model.eval()
    for network in (*model.networks, 'mean'):
        results = model.predict_as(network, inputs['labeled'].inputs, None)
        assert results[0].pred_sem_seg.shape == SIZE
    assert model(inputs['labeled'].inputs, mode='tensor').shape[:2] == (2, CLASSES)


def contrast_views(method):
    if method == 'CAC':
        views = crop_pair([[(0, 0), (16, 32)]] * 2, [(False, False)] * 2, size=SIZE)
        return dict(zip(('view1', 'view2'), views, strict=True))
    return batch(2, 1, SIZE, labels=False)


CONTRAST = {
    'CAC': dict(contrast=dict(threshold=None, num_negatives=20, bank=dict(steps=1))),
    'CMB': dict(contrast=dict(candidates=dict(threshold=None))),
    'CTT': dict(contrast=dict(bank=dict(size=1), ready='any', enqueue_number=1)),
}


@pytest.mark.parametrize('name', [*MASKS, 'pointrend'])
@pytest.mark.parametrize('method', CONTRAST)
def test_methods_that_read_features_train(name, method):
    model = make(name, method, **CONTRAST[method]).train()
    inputs = dict(labeled=batch(2, size=SIZE), unlabeled=contrast_views(method))
    for _ in range(2):
        losses = model.loss(inputs)
        total(losses).backward()
        model.update_memory(**model.step_outputs['memory'])
    assert all(value.isfinite().all() for value in losses.values())
    grads = [p.grad for p in model.student.backbone.parameters()]
    assert sum(grad.abs().sum() for grad in grads if grad is not None) > 0


@pytest.mark.parametrize('name', [*MASKS, 'pointrend'])
def test_bfloat16(name):
    model = make(name, pseudo_loss=dict(threshold=0.0)).train()
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(streams(size=SIZE))
    assert losses['loss_unsup'].dtype == torch.float32
    total(losses).backward()
    grads = [p.grad for p in model.student.parameters()]
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize('name', MASKS)
def test_pseudo_labels_are_those_of_the_logits(name):
    model = make(name).train()
    weak = batch(2, 1, SIZE, labels=False)
    pseudo = model.pseudo_labels(weak.inputs, weak.valid)
    logits = model.adapter(model.teacher, weak.inputs).logits
    logits = torch.nn.functional.interpolate(logits, SIZE, mode='bilinear')
    confidence, label = logits.softmax(1).max(1)
    assert_close(pseudo.confidence, confidence)
    assert torch.equal(pseudo.label, label)


@pytest.mark.parametrize('name', MASKS)
def test_pixels_that_are_not_kept_do_not_teach(name):
    model = make(name, pseudo_loss=dict(threshold=1.0)).train()
    loss = model.loss(streams(size=SIZE))['loss_unsup']
    loss.backward()
    assert loss == 0
    grads = [p.grad for p in model.student.parameters() if p.grad is not None]
    assert all(grad.eq(0).all() for grad in grads)


@pytest.mark.parametrize('name', MASKS)
def test_the_mean_is_that_of_probabilities(name):
    model = make(name).eval()
    with torch.no_grad():
        model.teacher.decode_head.cls_embed.bias[1] += 3
    images = batch(2, size=SIZE).inputs
    metas = [dict(img_shape=SIZE, pad_shape=SIZE, ori_shape=SIZE)] * 2
    probs = []
    for network in model.networks.values():
        probs.append(score_logits(network.inference(images, metas)).softmax(1))
    logits = model.predict_as('mean', images, None)[1].seg_logits.data
    assert_close(logits.exp(), sum(probs)[1] / 2, rtol=0, atol=1e-4)


@pytest.mark.parametrize('name', MASKS)
def test_an_image_without_labels_and_padding(name):
    """Ignored pixels are in no mask, as in MMSegmentation's own loss."""
    model = make(name, 'SupOnly').train()
    labeled = batch(2, size=SIZE)
    labeled.data_samples[0].gt_sem_seg.data[:] = 255
    labeled.data_samples[1].gt_sem_seg.data[..., 50:] = 255
    labeled.data_samples[1].set_metainfo(dict(img_shape=(64, 50)))
    losses = model.loss(dict(labeled=labeled))
    total(losses).backward()
    assert all(torch.isfinite(value).all() for value in losses.values())
    torch.manual_seed(0)
    found = model.loss(dict(labeled=labeled))
    torch.manual_seed(0)
    for key, value in model.student.loss(*labeled).items():
        assert_close(found[f'sup.{key}'], value)


@pytest.mark.parametrize('name', MASKS)
def test_a_plain_checkpoint_fills_student_and_teacher(name):
    plain = build(mask_student(name, CLASSES), seed=4)
    model = make(name)
    model.load_state_dict(dict(plain.state_dict()))
    for network in model.networks.values():
        assert differing(plain.state_dict(), network.state_dict()) == []


@pytest.mark.parametrize('name', MASKS)
def test_run_with_validation_resume_and_export(name, tmp_path):
    data = write_data(tmp_path / 'data', size=SIZE)

    def cfg(folder, **settings):
        student = mask_student(name, CLASSES, drop=0.1)
        student.data_preprocessor = dict(
            type='SegDataPreProcessor', mean=[120.0] * 3, std=[60.0] * 3
        )
        model = dict(
            type='MeanTeacher', student=student, pseudo_loss=dict(threshold=0.0)
        )
        made = config(data, tmp_path / folder, model, **settings)
        made.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
        made.optim_wrapper.optimizer = dict(type='AdamW', lr=1e-3)
        made.train_cfg.val_interval = 4
        return made

    whole = train(cfg('whole'))
    for network in ('student', 'teacher'):
        assert whole.message_hub.get_scalar(f'val/{network}/mIoU').current() >= 0
    halved = cfg('halved')
    halved.default_hooks.checkpoint.interval = 2
    train(halved)
    resumed = cfg('resumed', resume=True)
    resumed.load_from = str(tmp_path / 'halved' / 'iter_2.pth')
    assert differing(weights(whole), weights(train(resumed))) == []
    saved = torch.load(tmp_path / 'whole' / 'iter_4.pth', weights_only=True)
    exported = export_network(cfg('whole'), saved, 'teacher')
    assert exported.needs == {'FolderSegDataset': 'test_dataloader.dataset'}
    plain = MODELS.build(exported.config.model)
    plain.load_state_dict(exported.checkpoint['state_dict'])
    assert differing(plain.state_dict(), whole.model.teacher.state_dict()) == []
