# The augmentations of CMB's published code: one draw for all images of a batch, other
# strengths than in Table 1, a blur that is fixed for each axis.
weak_official = [
    dict(type='BatchClassMix', prob=0.2, per='batch'),
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
    dict(type='BatchClassMix', prob=0.75, per='batch'),
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
