# Table 3, row II: no direction, every key a negative, no filter of positives.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(direction=False, negative_filter=False, threshold=None)
