# Table 4, 12 800 negatives per GPU: 3 200 cells of each crop in two steps.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(num_negatives=3200)
