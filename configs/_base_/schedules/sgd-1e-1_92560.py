# The same with 0.1 for the heads and 0.01 for the backbone.
_base_ = './sgd-1e-2_92560.py'
optim_wrapper = dict(optimizer=dict(lr=0.1))
