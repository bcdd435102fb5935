# The same with 4e-4.
_base_ = './sgd-2e-4_150k.py'
optim_wrapper = dict(optimizer=dict(lr=4e-4))
