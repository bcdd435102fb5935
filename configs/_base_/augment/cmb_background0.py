# The same where class 0 is background: ClassMix pastes it only if there is no other.
_base_ = './cmb.py'
weak_augment = dict(classmix_skip=0)
strong_augment = dict(classmix_skip=0)
