default_scope = 'mmseg'
custom_imports = dict(imports=['mmsemiseg'], allow_failed_imports=False)
runner_type = 'SemiRunner'
env_cfg = dict(
    cudnn_benchmark=True,
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
vis_backends = [dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')]
visualizer = dict(
    type='SegLocalVisualizer', vis_backends=vis_backends, name='visualizer'
)
log_processor = dict(by_epoch=False)
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='SafeCheckpointHook',
        by_epoch=False,
        interval=500,
        max_keep_ckpts=2,
        save_last=True,
        save_best='student/mIoU',
        rule='greater',
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook'),
    predictions=dict(type='PredictionFilesHook'),
    pseudo_labels=dict(type='PseudoLabelMonitorHook'),
    losses=dict(type='LossMonitorHook'),
    run=dict(type='RunMonitorHook'),
)
val_cfg = dict(type='TeacherStudentValLoop')
test_cfg = dict(type='TestLoop')
