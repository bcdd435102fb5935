# Table 4, 500 negatives per GPU: 125 cells of each crop in two steps.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(num_negatives=125)
