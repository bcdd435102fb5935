# Table 4, 6 400 negatives per GPU: 1 600 cells of each crop in two steps.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(num_negatives=1600)
