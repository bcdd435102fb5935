"""MMSegmentation's own API on a config and a checkpoint of this library."""

import numpy as np
import torch
from helpers import build, spread, student_cfg
from mmengine.config import Config
from mmseg.apis import inference_model, init_model


def test_init_model_and_inference_model(tmp_path):
    model = dict(
        type='MeanTeacher',
        student=student_cfg(),
        data_preprocessor=dict(type='SemiDataPreProcessor'),
        predict_with='teacher',
    )
    cfg = Config(
        dict(
            default_scope='mmseg',
            model=model,
            test_pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='LoadAnnotations'),
                dict(type='PackSegInputs'),
            ],
        )
    )
    trained = build(cfg.model)
    spread(trained.teacher, seed=1)
    meta = dict(dataset_meta=dict(classes=('a', 'b', 'c'), palette=[[0, 0, 0]] * 3))
    path = str(tmp_path / 'last.pth')
    torch.save(dict(state_dict=trained.state_dict(), meta=meta), path)

    loaded = init_model(cfg, path, device='cpu')
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    result = inference_model(loaded, image)

    inputs = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    trained.eval()
    expected = trained.predict_as('teacher', inputs, None)[0].pred_sem_seg.data
    assert result.pred_sem_seg.data.unique().numel() > 1
    assert torch.equal(result.pred_sem_seg.data, expected)
