import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import TRANSFORMS
from tiny_run import PACK, TEST_PIPELINE, write_data

from mmsemiseg.utils.tool_settings import complete_config, use_tta
from mmsemiseg.utils.tta import SCALES, augmented, without_masks

LOAD, MASK, _ = TEST_PIPELINE
RESIZE = dict(type='Resize', scale=(64, -1), keep_ratio=True)
MULTIPLE = dict(type='ResizeToMultiple', size_divisor=8)


def branches(*steps):
    *_, tta = augmented([LOAD, *steps])
    assert tta['type'] == 'TestTimeAug'
    return tta['transforms']


def test_scales_are_relative_to_the_size_of_testing():
    resizes, flips, *rest = branches(RESIZE, MULTIPLE, MASK, PACK)
    assert [step['scale'] for step in resizes] == [
        (round(64 * scale), -1) for scale in SCALES
    ]
    assert all(step['keep_ratio'] for step in resizes)
    assert [step['prob'] for step in flips] == [0, 1]
    assert rest == [[MULTIPLE], [MASK], [PACK]]

    half = dict(type='Resize', scale_factor=0.5, keep_ratio=True)
    assert [step['scale_factor'] for step in branches(half, PACK)[0]] == [
        0.5 * scale for scale in SCALES
    ]
    edge = dict(type='ResizeShortestEdge', scale=10, max_size=40)
    first = branches(edge, PACK)[0][0]
    assert (first['scale'], first['max_size']) == (5, 20)


def test_without_resizing_the_original_size_is_scaled():
    resizes, _, *rest = branches(MASK, PACK)
    assert [step['scale_factor'] for step in resizes] == list(SCALES)
    assert rest == [[MASK], [PACK]]


def test_the_pipeline_runs(tmp_path):
    init_default_scope('mmseg')
    data = write_data(tmp_path, val=1)
    results = dict(
        img_path=str(data / 'val/images/v0.png'),
        seg_map_path=str(data / 'val/masks/v0.png'),
        reduce_zero_label=False,
        seg_fields=[],
    )
    for step in augmented(TEST_PIPELINE):
        results = TRANSFORMS.build(step)(results)
    assert len(results['inputs']) == 2 * len(SCALES)
    sizes = [image.shape[-1] for image in results['inputs'][::2]]
    assert sizes == [32 * scale for scale in SCALES]
    for sample in results['data_samples']:
        assert sample.gt_sem_seg.shape == (32, 32)
    assert [s.flip for s in results['data_samples'][:2]] == [False, True]


def test_images_without_masks():
    tta = without_masks(augmented([LOAD, RESIZE, MASK, PACK]))
    assert [[s['type'] for s in steps] for steps in tta[1]['transforms'][2:]] == [
        ['PackSegInputs']
    ]


def config_of(pipeline, **settings):
    loader = dict(dataset=dict(pipeline=pipeline))
    return Config(dict(test_dataloader=loader, model=dict(type='A'), **settings))


def test_a_config_tests_with_it():
    cfg = config_of([LOAD, RESIZE, PACK])
    use_tta(cfg)
    assert cfg.model == dict(type='SegTTAModel', module=dict(type='A'))
    steps = cfg.test_dataloader.dataset.pipeline
    assert [step['type'] for step in steps] == ['LoadImageFromFile', 'TestTimeAug']
    assert cfg.test_pipeline == [LOAD, RESIZE, PACK]

    own = [LOAD, dict(type='TestTimeAug', transforms=[[MASK], [PACK]])]
    cfg = config_of([LOAD, PACK], tta_pipeline=own)
    use_tta(cfg)
    unlabeled = cfg.test_dataloader.dataset.pipeline[1]
    assert unlabeled['transforms'] == [[PACK]]


def test_none_follows():
    crop = dict(type='CenterCropEval', crop_size=(8, 8))
    with pytest.raises(
        ValueError, match=r"'CenterCropEval', 'Pack.*: set tta_pipeline"
    ):
        use_tta(config_of([LOAD, MASK, crop, PACK]))
    cfg = Config(dict(test_dataloader=dict(dataset=dict(datasets=[]))))
    with pytest.raises(ValueError, match='--tta tests one data set'):
        use_tta(cfg)


def test_what_is_there_stays():
    validated = dict(val_dataloader=dict(dataset=dict(pipeline=[LOAD, PACK])))
    cfg = Config(validated)
    complete_config(cfg)
    assert cfg.test_pipeline == [LOAD, PACK]
    assert cfg.tta_model.type == 'SegTTAModel'
    own = dict(test_pipeline=[LOAD], tta_pipeline=[PACK], tta_model=dict(type='Own'))
    cfg = Config(dict(validated, **own))
    complete_config(cfg)
    assert {key: cfg[key] for key in own} == own
    cfg = Config(dict(model=dict(type='A')))
    complete_config(cfg)
    assert list(cfg) == ['model']
