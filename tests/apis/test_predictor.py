import pytest
import torch
from helpers import student_cfg
from mmengine.config import ConfigDict
from op_heads import mask_student, needs_ops
from saved_model import run_config, save_model, write_images
from tiny_run import mean_teacher, sup_only, tiny_student

from mmsemiseg.apis import Predictor
from mmsemiseg.apis.image_items import ImageItems
from mmsemiseg.engine.checkpoints import CheckpointError, read_checkpoint


@pytest.fixture
def make(tmp_path):
    """``make(model, **settings of the predictor)`` from a saved checkpoint."""

    def built(model=None, change=None, **settings):
        model = model or mean_teacher(predict_with='teacher')
        path = str(tmp_path / 'a.pth')
        saved = save_model(path, model)
        cfg = run_config(model)
        cfg.merge_from_dict(change or {})
        return saved, Predictor(cfg, read_checkpoint(path), path, **settings)

    return built


def items_of(predictor, folder, sizes):
    write_images(folder, sizes)
    found = ImageItems(folder, list(sizes), predictor.pipeline)
    return [found[index] for index in range(len(sizes))]


SIZES = {'1.png': (20, 32), '2.png': (20, 32)}


@pytest.mark.parametrize('network', [None, 'student', 'mean'])
def test_labels_are_those_of_the_model(make, tmp_path, network):
    saved, predictor = make(network=network)
    assert predictor.network == network or network is None
    items = items_of(predictor, tmp_path, SIZES)
    found = predictor(items, probs=True)
    inputs = [item.inputs[0] for item in items]
    data = dict(inputs=inputs, data_samples=[item.samples[0] for item in items])
    expected = saved.predict_as(
        network or 'teacher', **saved.data_preprocessor(data, False)
    )
    for one, sample in zip(found, expected, strict=True):
        assert one.label.shape == (20, 32)
        assert one.label.equal(sample.pred_sem_seg.data[0])
        torch.testing.assert_close(one.probs, sample.seg_logits.data.softmax(0))
        assert one.probs.argmax(0).equal(one.label)
    assert [one.label.tolist() for one in predictor(items)] == [
        one.label.tolist() for one in found
    ]
    assert predictor(items)[0].probs is None


def test_flips_are_averaged(make, tmp_path):
    _, plain = make()
    _, flips = make(tta='flip')
    (item,) = items_of(plain, tmp_path, {'1.png': (20, 32)})
    (both,) = items_of(flips, tmp_path, {'1.png': (20, 32)})
    assert len(both.inputs) == 2
    assert both.inputs[1].equal(item.inputs[0].flip(-1))
    (found,) = flips([both], probs=True)
    (straight,) = plain([item], probs=True)
    mirrored, sample = both.inputs[1], both.samples[1]
    (turned,) = plain([item._replace(inputs=[mirrored], samples=[sample])], probs=True)
    torch.testing.assert_close(found.probs, (straight.probs + turned.probs) / 2)
    assert found.label.equal(found.probs.argmax(0))
    torch.testing.assert_close(found.probs.sum(0), torch.ones(20, 32))


def test_scales(make, tmp_path):
    _, predictor = make(tta='scales')
    (item,) = items_of(predictor, tmp_path, {'1.png': (20, 32)})
    assert len(item.inputs) == 12
    assert predictor([item])[0].label.shape == (20, 32)
    change = dict(
        tta_pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                type='TestTimeAug',
                transforms=[
                    [dict(type='Resize', scale_factor=f) for f in (1.0, 2.0)],
                    [dict(type='LoadAnnotations')],
                    [dict(type='PackSegInputs')],
                ],
            ),
        ]
    )
    _, predictor = make(tta='scales', change=change)
    (item,) = items_of(predictor, tmp_path, {'1.png': (20, 32)})
    assert [one.shape[1:] for one in item.inputs] == [(20, 32), (40, 64)]


def test_windows(make, tmp_path):
    _, slides = make(window=(16, 24))
    assert all(
        net.test_cfg == dict(mode='slide', crop_size=(16, 24), stride=[10, 16])
        for net in slides.segmentors
    )
    items = items_of(slides, tmp_path, SIZES)
    assert slides(items)[0].label.shape == (20, 32)
    with pytest.raises(ValueError, match='--slide 512'):
        make(window='config')
    _, slides = make(window='config', change=dict(crop_size=(16, 16)))
    assert slides.segmentors[0].test_cfg.crop_size == (16, 16)
    student = tiny_student()
    student['test_cfg'] = ConfigDict(mode='slide', crop_size=(8, 8), stride=(7, 7))
    model = mean_teacher(student=student)
    assert make(model, window='config')[1].segmentors[0].test_cfg.stride == (7, 7)
    assert make(model)[1].segmentors[0].test_cfg.mode == 'slide'
    assert make(model, window='whole')[1].segmentors[0].test_cfg.mode == 'whole'


def test_a_plain_segmentor(make, tmp_path):
    _, predictor = make(tiny_student())
    assert predictor.network is None
    found = predictor(items_of(predictor, tmp_path, SIZES), probs=True)
    assert found[0].label.equal(found[0].probs.argmax(0))
    with pytest.raises(ValueError, match='--network teacher: EncoderDecoder is one'):
        make(tiny_student(), network='teacher')


def test_one_channel(make, tmp_path):
    head = dict(num_classes=2, out_channels=1, threshold=0.3)
    model = student_cfg(
        decode_head=head, data_preprocessor=dict(type='SegDataPreProcessor')
    )
    for tta in (None, 'flip'):
        _, predictor = make(model, tta=tta)
        for one in predictor(items_of(predictor, tmp_path, SIZES), probs=True):
            assert one.probs.shape == (2, 20, 32)
            assert one.label.equal((one.probs[1] > 0.3).to(one.label))


def test_wrong_settings(make):
    with pytest.raises(ValueError, match="network of MeanTeacher .* 'teacher1'"):
        make(network='teacher1')
    with pytest.raises(ValueError, match="tta must be in .* 'all'"):
        make(tta='all')
    with pytest.raises(ValueError, match='--device cuda:77'):
        make(device='cuda:77')
    with pytest.raises(ValueError, match='--device quantum'):
        make(device='quantum')
    with pytest.raises(ValueError, match='no test_pipeline'):
        make(change={'test_dataloader.dataset': dict(_delete_=True)})


def test_wrong_checkpoints(tmp_path):
    path = str(tmp_path / 'a.pth')
    save_model(path, sup_only())
    content = read_checkpoint(path)
    with pytest.raises(CheckpointError, match='not of this MeanTeacher: .* missing'):
        Predictor(run_config(mean_teacher()), content, path)
    content['meta'] = {}
    with pytest.raises(ValueError, match='does not name its classes'):
        Predictor(run_config(sup_only()), content, path)
    with pytest.raises(ValueError, match='has no model'):
        Predictor(run_config(None), content, path)


@needs_ops
def test_heads_that_classify_masks(make, tmp_path):
    student = dict(mask_student('maskformer'))
    student['data_preprocessor'] = dict(type='SegDataPreProcessor')
    for network in ('teacher', 'mean'):
        _, predictor = make(mean_teacher(student=student), network=network)
        for one in predictor(items_of(predictor, tmp_path, SIZES), probs=True):
            torch.testing.assert_close(one.probs.sum(0), torch.ones(20, 32))
            assert one.label.equal(one.probs.argmax(0))
