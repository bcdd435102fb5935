# The streams of CMB from GTA5 (labeled, `source`) to Cityscapes, all at half size.
_base_ = './cityscapes_half512_unlabeled.py'
source = dict(
    batch_size=5,
    num_workers=4,
    dataset=dict(
        type='GTA5Dataset',
        data_root='data/gta5/',
        data_prefix=dict(img_path='images', seg_map_path='labels'),
        pipeline={{_base_.labeled_pipeline}},
    ),
)
train_dataloader = dict(source=source)
