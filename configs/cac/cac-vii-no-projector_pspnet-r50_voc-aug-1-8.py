# Table 3, row VII: no projector.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(projector=False)
