# The same without the contrastive loss.
_base_ = './cmb_deeplabv3plus-r18_camvid-seq24.py'
model = dict(contrast_weight=0)
