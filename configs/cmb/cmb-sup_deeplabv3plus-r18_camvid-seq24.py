# The same with the labels alone: CMB's augmentation and class balance.
_base_ = './cmb_deeplabv3plus-r18_camvid-seq24.py'
model = dict(contrast_weight=0, pseudo_weight=0, entropy_weight=0)
