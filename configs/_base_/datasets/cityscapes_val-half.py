# Testing on Cityscapes at half size: logits go back to the size of the labels.
_base_ = ['./cityscapes_val.py', '../evaluation/half.py']
val_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))
test_dataloader = dict(dataset=dict(pipeline={{_base_.eval_pipeline}}))
