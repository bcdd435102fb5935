# Table 3, row V: no direction.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(direction=False)
