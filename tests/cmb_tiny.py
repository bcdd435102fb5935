"""A tiny CMB, its streams, and the settings that its tests go through."""

import torch
from helpers import batch, build, spread, student_cfg

SIZE = (32, 32)  # 8 x 8 cells
BALANCE = dict(labels=2, pseudo=3, start=3)
NO_FILTER = dict(contrast=dict(candidates=dict(threshold=None)))


def merged(*settings):
    """Nested settings, each completed and overruled by those after it."""
    found = {}
    for one in settings:
        for name, value in one.items():
            before = found.get(name)
            nested = isinstance(before, dict) and isinstance(value, dict)
            found[name] = merged(before, value) if nested else value
    return found


def contrast(**settings):
    return dict(contrast=settings)


def candidates(**settings):
    return contrast(candidates=settings)


def geometry(classmix):
    """ClassMix with this probability, scale and flip."""
    return [
        dict(type='BatchClassMix', prob=classmix),
        dict(type='BatchScaleCrop', prob=0.5),
        dict(type='BatchFlip', prob=0.5),
    ]


def tiny_student(classes=3, **settings):
    """One stage of a ResNet, at stride 4."""
    return student_cfg(
        backbone=dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)),
        decode_head=dict(
            in_channels=8,
            in_index=0,
            channels=10,
            num_classes=classes,
            loss_decode=dict(type='BalancedCrossEntropy'),
        ),
        **settings,
    )


def chosen(**settings):
    """Everything runs from the third iteration on, banks of 8 overflow."""
    return merged(
        dict(
            pseudo_loss=dict(ramp_up=dict(kind='exp', length=4)),
            contrast=dict(
                start=2,
                proj_hidden=7,
                proj_channels=6,
                bank=dict(size=8),
                candidates=dict(threshold=0.4, number=2, start=1),
            ),
            mix_start=3,
        ),
        settings,
    )


def make(student=None, classes=3, seed=1, predicted=None, type='CMB', **settings):
    """With a teacher that is not its student; only so many classes are predicted."""
    student = student or tiny_student(classes)
    if type == 'CMB':
        settings = chosen(**settings)
    model = build(dict(type=type, student=student, **settings))
    spread(model.student, seed)
    spread(model.teacher, seed + 1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for pair in head_pairs(model):
            for head in (pair.student, pair.teacher):
                for param in head.parameters():
                    noise = torch.rand(param.shape, generator=generator) - 0.5
                    param += noise
        for network in model.networks.values():
            network.decode_head.conv_seg.bias[predicted or classes :] = -1000
    return model.train()


def head_pairs(model):
    return () if model.contrast is None else model.contrast.head_pairs


def bank_of(model):
    return None if model.contrast is None else model.contrast.banks[0]


def streams(
    seed=0, labeled=2, unlabeled=2, classes=3, padded=False, source=False, size=SIZE
):
    """Some pixels have no label."""
    found = dict(labeled=batch(labeled, 3 * seed, size))
    valid = torch.ones(size, dtype=torch.bool)
    valid[:, 20:] = not padded
    found['unlabeled'] = batch(unlabeled, 3 * seed + 1, size, False, valid)
    if source:
        found['source'] = batch(labeled, 3 * seed + 2, size)
    for name in sorted(set(found) - {'unlabeled'}):
        for index, sample in enumerate(found[name].data_samples):
            label = sample.gt_sem_seg.data
            number = seed + index + 100 * (name == 'source')
            generator = torch.Generator().manual_seed(number)
            label[:] = torch.randint(classes, label.shape, generator=generator)
            label[:, :5] = 255
            if padded:
                sample.valid_map.data[:, 25:] = False
                label[:, 25:] = 255
    return found


def filled(model, at, iterations=3, **settings):
    """After some steps, with vectors in the bank."""
    for iteration in range(iterations):
        at(iteration)
        model.loss(streams(iteration, **settings))
        if model.has_memory:
            model.update_memory(**model.step_outputs['memory'])
    at(iterations)
    return model


def entered(model):
    """What a step left for the bank: features, label and rank."""
    left = model.step_outputs['memory']
    return {name: left[f'contrast.{name}0'] for name in ('features', 'label', 'rank')}


PAPER = merged(
    dict(
        pseudo_loss=dict(ramp_up=dict(kind='step', length=3)),
        entropy=dict(norm='nats', over='all'),
    ),
    contrast(joint=True),
    candidates(per='image', read_at='cell'),
)
OFFICIAL = merged(
    dict(unlabeled_first=True),
    contrast(memory_attention=False, attention_input='unit'),
    candidates(rank='lowest', rank_by='prediction'),
)
RANDOM = candidates(rank='random')
NO_ATTENTION = merged(contrast(attention=False), RANDOM)
BASE = merged(NO_ATTENTION, candidates(network='student', threshold=None))
PUBLISHED_BALANCE = dict(BALANCE, median='all', keep_labels='first')
NO_MEMORY_ATTENTION = contrast(memory_attention=False)
SETTINGS = {
    'default': {},
    'paper': PAPER,
    'official': OFFICIAL,
    'official, balanced': dict(OFFICIAL, class_balance=PUBLISHED_BALANCE),
    'base': BASE,
    'no attention': NO_ATTENTION,
    'no memory attention': NO_MEMORY_ATTENTION,
    'no memory attention, random': merged(NO_MEMORY_ATTENTION, RANDOM),
    'unit keys': contrast(attention_input='unit'),
    'joint': contrast(joint=True),
    'from the student': candidates(network='student'),
    'no filter': candidates(threshold=None),
    'prediction of the cell': candidates(read_at='cell'),
    'unlabeled first': dict(unlabeled_first=True),
    'entropy over all': dict(entropy=dict(over='all')),
    'lowest': candidates(rank='lowest'),
    'lowest of the prediction': candidates(rank='lowest', rank_by='prediction'),
    'highest of the prediction': candidates(rank_by='prediction'),
    'random': RANDOM,
    'per image': candidates(per='image'),
    'lowest per image': candidates(per='image', rank='lowest'),
    'more than the bank holds': candidates(number=9),
    'a large bank': contrast(bank=dict(size=50)),
    'nats': dict(entropy=dict(norm='nats')),
    'step': dict(pseudo_loss=dict(ramp_up=dict(kind='step', length=3))),
    'no ramp': dict(pseudo_loss=dict(ramp_up=None)),
    'balanced': dict(class_balance=BALANCE),
    'balanced, first labels': dict(class_balance=dict(BALANCE, keep_labels='first')),
    'balanced, all classes': dict(class_balance=dict(BALANCE, median='all')),
    'balanced from the start': dict(class_balance=dict(BALANCE, start=0)),
    'balanced, no contrast': dict(class_balance=BALANCE, contrast=None),
    'no contrast': dict(contrast=None),
    'no entropy': dict(entropy=None),
    'one augmentation': dict(num_augments=1),
    'three augmentations': dict(num_augments=3),
    'other weights': merged(
        dict(sup_weight=0.5, entropy=dict(weight=0.3)),
        dict(pseudo_loss=dict(weight=2.0, confidence_power=2.0)),
        contrast(weight=1.5),
    ),
    'features of a stage': contrast(feature='stage1'),
}
