# The same in 160 000 iterations.
_base_ = './adamw-1e-4_120k.py'
train_cfg = dict(max_iters=160000)
