# Table 5: two separate pairs, each student learns from its own teacher; the students'
# probabilities are averaged in testing.
_base_ = './ctt-ct_deeplabv2-r101-coco_cityscapes-1-8.py'
model = dict(teaching='own', predict_with='mean_students')
