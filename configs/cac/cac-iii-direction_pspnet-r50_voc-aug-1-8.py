# Table 3, row III: every key a negative, no filter of positives.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(negative_filter=False, threshold=None)
