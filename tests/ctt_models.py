"""Tiny models of CTT and CPS, whose networks differ, and batches for them."""

import torch
from helpers import build, spread, streams, student_cfg

SIZE = (16, 16)  # 4 x 4 cells
CONTRAST = dict(threshold=0.6, bank=dict(size=3), enqueue_number=1)


def tiny_student(**settings):
    """One stage of a ResNet, at stride 4."""
    head = dict(in_channels=8, in_index=0, channels=6)
    head.update(settings.pop('decode_head', {}))
    return student_cfg(
        backbone=dict(num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)),
        decode_head=head,
        **settings,
    )


def make(student=None, type='CTT', contrast=CONTRAST, **settings):
    """All networks differ; confidences are on both sides of phi.

    The contrast has the settings ``CONTRAST`` where others are not given.
    """
    if contrast is not None:
        contrast = dict(type='PeerContrast', **{**CONTRAST, **contrast})
        if type == 'CPS':
            contrast['keys_from'] = 'student'
    student = student or tiny_student()
    model = build(dict(type=type, student=student, contrast=contrast, **settings))
    for seed, network in enumerate(model.networks.values()):
        mixed_up(network, seed)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for pair in model.contrast.head_pairs if contrast else ():
            for network in filter(None, (pair.student, pair.teacher)):
                for param in network.parameters():
                    param += torch.rand(param.shape, generator=generator) - 0.5
    return model.train()


@torch.no_grad()
def mixed_up(network, seed):
    """Random weights, with which every class is predicted, more or less surely."""
    spread(network.eval(), seed)
    images = torch.randn(8, 3, *SIZE, generator=torch.Generator().manual_seed(seed))
    logits = network(images)
    classifier = network.decode_head.conv_seg
    classifier.weight *= 1.5 / logits.std()
    classifier.bias.zero_()
    classifier.bias -= network(images).mean((0, 2, 3))


def inputs_of(seed=0, n=2, one_view=False, size=SIZE):
    """Some pixels have no label, some unlabeled ones are padding."""
    valid = torch.ones(size, dtype=torch.bool)
    valid[:, 12:] = False
    found = streams(n, size, valid, seed=3 * seed)
    found['labeled'].data_samples[0].gt_sem_seg.data[:, :5] = 255
    if one_view:
        found['unlabeled'] = found['unlabeled']['strong']
    return found


def fill(model, counts=None, reference=None):
    """Unit vectors into each queue, as many as ``counts`` says for pair and class."""
    generator = torch.Generator().manual_seed(7)
    for index, bank in enumerate(model.contrast.banks if model.contrast else ()):
        rows = torch.randn(model.num_classes * bank.size, bank.dim, generator=generator)
        rows = torch.nn.functional.normalize(rows)
        wanted = counts[index] if counts else [bank.size] * model.num_classes
        group = torch.arange(model.num_classes).repeat_interleave(bank.size)
        place = torch.arange(bank.size).repeat(model.num_classes)
        group = torch.where(place < torch.tensor(wanted)[group], group, -1)
        bank.enqueue(rows, group)
        if reference is not None:
            reference.enter(index, zip(rows, group.tolist(), strict=True))
    return model


def unlabeled_alone(inputs):
    """Nothing enters a bank."""
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 255
    return inputs


def gradients(loss, params):
    params = list(params)
    found = torch.autograd.grad(loss, params, allow_unused=True, retain_graph=True)
    return [0 * p if g is None else g for p, g in zip(params, found, strict=True)]
