# All 759 labels of CCP: what the unlabeled images would be worth with their labels.
_base_ = [
    '../_base_/models/deeplabv3plus_lite0-d16.py',
    '../_base_/datasets/ccp.py',
    '../_base_/schedules/adamw-pretrained_500.py',
    '../_base_/default_runtime.py',
]
heads = dict(num_classes=18)
model = dict(student=dict(decode_head=heads, auxiliary_head=heads))
train_dataloader = dict(labeled=dict(dataset=dict(ann_file='')))
