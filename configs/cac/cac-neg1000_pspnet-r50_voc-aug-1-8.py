# Table 4, 1 000 negatives per GPU: 250 cells of each crop in two steps.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(num_negatives=250)
