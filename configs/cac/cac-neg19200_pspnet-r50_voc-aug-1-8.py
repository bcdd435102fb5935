# Table 4, 19 200 negatives per GPU: 4 800 cells of each crop in two steps.
_base_ = './cac_pspnet-r50_voc-aug-1-8.py'
model = dict(num_negatives=4800)
