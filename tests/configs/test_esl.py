"""Configs of ESL against its tables."""

import pytest
import torch
from config_files import load, named, stem_of
from configs_of_esl import ESL, ESL_SPLITS, OF_ESL, epochs_of_esl
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample


@pytest.mark.parametrize('path', ESL, ids=stem_of)
def test_streams_and_length_of_esl_fit_the_split(path):
    cfg = load(path)
    data, split = OF_ESL.match(path.stem).groups()
    streams = cfg.train_dataloader
    assert {stream.batch_size for stream in streams.values()} == {2}
    assert cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_cfg.max_iters == epochs_of_esl(path)
    assert cfg.train_cfg.max_iters % cfg.train_cfg.val_interval == 0
    assert ('unlabeled' in streams) == ('sup-only' not in path.stem)
    folder = ESL_SPLITS.get((data, split), f'{split}_0')
    if data == 'voc-classic':
        folder = f'classic-{split}'
    name = 'train.txt' if split == 'full' else f'splits/{folder}/'
    labeled = streams.labeled.dataset
    assert name in labeled.ann_file
    masks = labeled.data_prefix.seg_map_path
    if data != 'cityscapes':
        assert masks.endswith('Aug') == (data == 'voc-aug')
    if 'unlabeled' in streams:
        source = streams.unlabeled.dataset
        assert name in (source.exclude if data == 'voc-classic' else source['images'])
    loss = cfg.model.student.decode_head.loss_decode.type
    assert (loss == 'OHEMLoss') == (data == 'cityscapes')
    rates = dict(cityscapes=(0.1, 5e-4)).get(data, (0.01, 1e-4))
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.lr, optimizer.weight_decay) == rates


def test_defaults_of_esl_are_those_of_the_paper():
    cfg = named('esl_deeplabv3plus-r101_voc-classic-full')
    cfg.model.student.backbone.init_cfg = None
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
        assert model.feature_channels == (512, 2048)
    part = model.contrast
    assert (model.pseudo_loss.weight, model.pseudo_loss.threshold) == (0.2, None)
    assert (model.pseudo_label.top_p, part.weight, part.num_parts) == (0.95, 0.1, 5)
    assert (part.threshold, part.anchor_share, part.num_negatives) == (0.95, 0.1, 255)
    assert (part.temperature, part.prototypes.decay) == (0.5, 0.99)
    assert part.bank.features.shape == (21 * 5, 128, 512)
    assert part.prototypes.vectors.shape == (21, 5, 2048)
    blocks = model.student.decode_head.conv_seg
    assert (blocks.in_channels, blocks.channels) == (512, 21)
    assert model.align_corners


@pytest.mark.parametrize('method', ['esl', 'sup-only-esl'])
def test_the_network_sees_the_centre_crop_of_esl_as_it_is(method):
    cfg = named(f'{method}_deeplabv3plus-r101_voc-classic-full')
    (crop,) = [
        step.crop_size
        for step in cfg.test_dataloader.dataset.pipeline
        if step.type == 'CenterCropEval'
    ]
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    item = dict(
        inputs=[torch.zeros(3, *crop, dtype=torch.uint8)],
        data_samples=[SegDataSample(metainfo=dict(img_shape=crop))],
    )
    assert preprocessor(item, False)['inputs'].shape[2:] == crop == (513, 513)
