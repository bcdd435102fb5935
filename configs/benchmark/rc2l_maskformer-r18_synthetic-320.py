# RC²L, 4 + 4 images of 320 x 320, 50 queries: what tools/benchmark measures.
_base_ = [
    '../_base_/models/maskformer_r18-d32.py',
    '../_base_/datasets/synthetic-320.py',
    '../_base_/schedules/adamw_800.py',
    '../_base_/default_runtime.py',
]
num_classes = 21
model = dict(
    type='RC2L',
    student=dict(
        decode_head=dict(
            num_classes=num_classes,
            num_queries=50,
            loss_cls=dict(class_weight=[1.0] * num_classes + [0.1]),
        )
    ),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MeanTeacherHook', decay=0.99)]
