# CPS with CutMix (Chen et al., CVPR 2021), with the data and the length of CTT.
_base_ = './ctt-mutual_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(mix='cutmix')
