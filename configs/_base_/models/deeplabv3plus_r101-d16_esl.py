# DeepLabV3+ of ESL with ResNet-101: the decoder ends with the concatenated maps. The
# classifier has two blocks of its own, as the projector beside it (heads of U2PL).
_base_ = './deeplabv3plus_r50-d16.py'
weights = 'https://download.pytorch.org/models/resnet101-5d3b4d8f.pth'
model = dict(
    student=dict(
        backbone=dict(depth=101, init_cfg=dict(checkpoint=weights)),
        decode_head=dict(
            type='BlockClassifierHead',
            head='DeepLabV3PlusHead',
            c1_channels=256,
            aspp_dropout=0.1,
            fuse_convs=0,
            blocks=dict(norm_cfg=dict(type='SyncBN')),
        ),
    ),
)
