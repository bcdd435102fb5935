"""README's recipe makes MMSegmentation's own configs semi-supervised, unchanged."""

import runpy
import sys

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import RUNNERS
from op_heads import needs_ops
from stock import MIM, recipe, stock_config, write_data

import mmsemiseg  # noqa: F401, fills the registries

TRAINED = [
    'segformer_mit-b0_8xb2-160k_ade20k-512x512',
    'pspnet_r18-d8_4xb2-80k_cityscapes-512x1024',
    'segmenter_vit-t_mask_8xb1-160k_ade20k-512x512',
]
LEARNT = [
    'bisenetv2_fcn_4xb4-160k_cityscapes-1024x1024',
    'ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024',
    'deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024',
    'fast_scnn_8xb4-160k_cityscapes-512x1024',
    'fcn_hr18s_4xb2-40k_cityscapes-512x1024',
    'knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512',
    'ocrnet_hr18s_4xb2-40k_cityscapes-512x1024',
    'pidnet-s_2xb6-120k_1024x1024-cityscapes',
    'swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512',
]
WITH_OPERATORS = [
    'mask2former_r50_8xb2-90k_cityscapes-512x1024',
    'maskformer_r50-d32_8xb2-160k_ade20k-512x512',
    'pointrend_r50_4xb2-80k_cityscapes-512x1024',
]
QUICK = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'train_dataloader.labeled.batch_size': 2,
    'train_dataloader.labeled.num_workers': 0,
    'train_dataloader.labeled.persistent_workers': False,
    'train_dataloader.unlabeled.batch_size': 2,
    'train_dataloader.unlabeled.num_workers': 0,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
}


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp('stock')
    write_data(folder)
    (folder / 'my_semi.py').write_text(recipe())
    return folder


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv('LOCAL_RANK', '0')
    return project


@pytest.mark.parametrize('name', TRAINED)
def test_a_stock_config_trains_with_mmsegs_tool(name, inside, monkeypatch):
    stock_config(name).dump('my_segformer.py')
    options = [f'{key}={value}' for key, value in QUICK.items()]
    words = ['my_semi.py', '--work-dir', name, '--cfg-options', *options]
    monkeypatch.setattr(sys, 'argv', ['train.py', *words])
    runpy.run_path(str(MIM / 'tools' / 'train.py'), run_name='__main__')
    saved = torch.load(inside / name / 'iter_2.pth', weights_only=False)
    assert any(key.startswith('pairs.0.teacher.') for key in saved['state_dict'])


@pytest.mark.parametrize(
    'name', [*LEARNT, *(pytest.param(n, marks=needs_ops) for n in WITH_OPERATORS)]
)
def test_a_stock_config_learns(name, inside):
    stock_config(name).dump('my_segformer.py')
    cfg = Config.fromfile('my_semi.py')
    cfg.merge_from_dict(dict(QUICK, work_dir=name))
    runner = RUNNERS.build(cfg)
    loop = runner.build_train_loop(cfg.train_cfg)
    data = runner.model.data_preprocessor(next(loop.batches()), True)
    with torch.no_grad():
        losses = runner.model(**data, mode='loss')
    assert all(torch.isfinite(value).all() for value in losses.values())
    assert losses['loss_unsup'] >= 0
    plain = cfg.data_preprocessor
    assert runner.model.data_preprocessor.mean.flatten().tolist() == pytest.approx(
        plain.mean
    )
    for view in (data['inputs']['labeled'], *data['inputs']['unlabeled'].values()):
        assert view.inputs.shape[2:] == plain.size
