# The same without multi-grid and without dropout between the last two 3x3 convolutions,
# BN of the backbone with fixed scale and shift, tests without padding.
_base_ = './deeplabv3plus_r50-d16.py'
model = dict(
    data_preprocessor=dict(test_cfg=None),
    student=dict(
        backbone=dict(multi_grid=None, norm_cfg=dict(requires_grad=False)),
        decode_head=dict(fuse_dropout=0),
    ),
)
