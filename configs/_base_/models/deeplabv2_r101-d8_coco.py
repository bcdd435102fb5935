# The same from weights of COCO, converted by tools/convert_weights.py (see
# docs/pretrained.md): stride in the 1x1 convolutions, BGR, (x - mean) / 255 with the
# mean of VOC. The published code of CMB takes that of Cityscapes on Cityscapes,
# mean=[72.39239876, 82.90891754, 73.15835921].
_base_ = './deeplabv2_r101-d8.py'
weights = 'pretrained/deeplabv2_r101_coco.pth'
model = dict(
    data_preprocessor=dict(
        mean=[104.00698793, 116.66876762, 122.67891434],
        std=[255, 255, 255],
        bgr_to_rgb=False,
    ),
    student=dict(
        backbone=dict(
            style='caffe', init_cfg=dict(checkpoint=weights, prefix='backbone.')
        )
    ),
)
