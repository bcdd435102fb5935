# The same with the classifier of CAC's published code: dropout of single elements in
# front of it, Kaiming initialisation (normal, fan-in) of its weights.
_base_ = './deeplabv3plus_r50-d16.py'
model = dict(
    student=dict(
        decode_head=dict(
            dropout_per='element',
            init_cfg=dict(
                type='Kaiming', mode='fan_in', override=dict(name='conv_seg')
            ),
        )
    )
)
