# The same with ResNet-101.
_base_ = './deeplabv3plus_r50-d16_cac.py'
weights = 'https://download.pytorch.org/models/resnet101-5d3b4d8f.pth'
model = dict(student=dict(backbone=dict(depth=101, init_cfg=dict(checkpoint=weights))))
