# DeepLabV3+ of CAC with ResNet-101: the classifier as in deeplabv3plus_r50-d16_cac.
_base_ = './deeplabv3plus_r50-d16.py'
weights = 'https://download.pytorch.org/models/resnet101-5d3b4d8f.pth'
model = dict(
    student=dict(
        backbone=dict(depth=101, init_cfg=dict(checkpoint=weights)),
        decode_head=dict(
            dropout_per='element',
            init_cfg=dict(
                type='Kaiming', mode='fan_in', override=dict(name='conv_seg')
            ),
        ),
    )
)
