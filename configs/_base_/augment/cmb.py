# The augmentations of CMB's Table 1: operations of BatchAugment on labeled (weak) and
# unlabeled (strong) images, in their order. The blur's kernel and sigmas are the
# published code's; weak images are blurred with a probability of 0 in the table, too.
weak_augment = [
    dict(type='BatchClassMix', prob=0.2),
    dict(type='BatchScaleCrop', prob=0.5, scale=(0.75, 1.75)),
    dict(type='BatchFlip', prob=0.5),
    dict(
        type='BatchColorJitter',
        prob=0.2,
        brightness=0.15,
        contrast=0.15,
        saturation=0.075,
        hue=0.05,
    ),
    dict(type='BatchBlur', prob=0.0),
]
strong_augment = [
    dict(type='BatchClassMix', prob=0.8),
    dict(type='BatchScaleCrop', prob=0.8, scale=(0.75, 1.75)),
    dict(type='BatchFlip', prob=0.5),
    dict(
        type='BatchColorJitter',
        prob=0.8,
        brightness=0.3,
        contrast=0.3,
        saturation=0.15,
        hue=0.1,
    ),
    dict(type='BatchBlur', prob=0.2, sigma=(0.1, 1.5), kernel=23),
]
