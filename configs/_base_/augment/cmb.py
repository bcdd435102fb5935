# The augmentations of CMB's Table 1: settings of BatchAugment for labeled (weak) and
# unlabeled (strong) images. The blur's kernel and sigmas are the published code's.
weak_augment = dict(
    flip_prob=0.5,
    scale_prob=0.5,
    scale_range=(0.75, 1.75),
    jitter_prob=0.2,
    brightness=0.15,
    contrast=0.15,
    saturation=0.075,
    hue=0.05,
    classmix_prob=0.2,
)
strong_augment = dict(
    flip_prob=0.5,
    scale_prob=0.8,
    scale_range=(0.75, 1.75),
    jitter_prob=0.8,
    brightness=0.3,
    contrast=0.3,
    saturation=0.15,
    hue=0.1,
    blur_prob=0.2,
    blur_kernel=23,
    blur_sigma=(0.1, 1.5),
    classmix_prob=0.8,
)
