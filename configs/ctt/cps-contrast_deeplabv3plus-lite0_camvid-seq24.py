# CPS with the contrast of CTT: 24 labels of CamVid, the other 343 frames unlabeled. The
# banks are filled by the students.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/camvid-half.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=11)
model = dict(
    type='CPS',
    student=dict(decode_head=heads, auxiliary_head=heads),
    pseudo_loss=dict(weight=0.2),
    contrast=dict(type='PeerContrast', ready='class', keys_from='student'),
)
train_dataloader = dict(unlabeled={{_base_.unlabeled}})
custom_hooks = [dict(type='MemoryHook')]
default_hooks = dict(checkpoint=dict(save_best='student0/mIoU'))
