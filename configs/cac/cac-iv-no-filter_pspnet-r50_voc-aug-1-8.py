# Table 3, row IV: no filter of positives.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(threshold=None)
