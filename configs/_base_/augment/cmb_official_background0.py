# The augmentations of CMB's published code (cmb_official.py) where class 0 is
# background: ClassMix pastes it only if there is no other class.
weak_official = [
    dict(type='BatchClassMix', prob=0.2, skip=0, per='batch'),
    dict(type='BatchScaleCrop', prob=0.5, scale=(0.75, 1.75), per='batch'),
    dict(type='BatchFlip', prob=0.5, per='batch'),
    dict(
        type='BatchColorJitter',
        prob=0.2,
        brightness=0.125,
        contrast=0.125,
        saturation=0.125 / 2,
        hue=0.125 / 3,
        per='batch',
    ),
    dict(type='BatchBlur', prob=0.0, per='batch'),
]
strong_official = [
    dict(type='BatchClassMix', prob=0.75, skip=0, per='batch'),
    dict(type='BatchScaleCrop', prob=0.8, scale=(0.75, 1.75), per='batch'),
    dict(type='BatchFlip', prob=0.5, per='batch'),
    dict(
        type='BatchColorJitter',
        prob=0.8,
        brightness=0.25,
        contrast=0.25,
        saturation=0.25 / 2,
        hue=0.25 / 3,
        per='batch',
    ),
    dict(type='BatchBlur', prob=0.2, axis_sigmas=(0.1, 1.5), kernel=23, per='batch'),
]
