# Table 3, row I: squared distance of positive pairs alone.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(loss='l2')
