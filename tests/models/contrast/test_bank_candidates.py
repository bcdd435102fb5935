"""Which features of labeled images enter a bank."""

import pytest
import torch
from cmb_reference import kept
from cmb_tiny import bank_of, candidates, contrast, entered, make, merged, streams
from helpers import build

from mmsemiseg.models import ClassQueueBank
from mmsemiseg.models.contrast import LabeledCandidates


class Scores:
    """A head that gives these scores."""

    def __init__(self, scores):
        self.given = scores

    def scores(self, rows, label, selector):
        return self.given


def selected(part, scores, rows, label, number, bank):
    image = torch.zeros(len(rows)).long()
    return part.selected(Scores(scores), rows, label, image, 1, number, bank)


@pytest.mark.parametrize(
    ('rank', 'kept_rows'), [('highest', [3, 1]), ('lowest', [2, 0])]
)
@pytest.mark.parametrize('per', ['batch', 'image'])
def test_vectors_of_the_selection(rank, kept_rows, per):
    part = LabeledCandidates(rank=rank, per=per)
    scores = torch.tensor([0.2, 0.9, 0.5, 0.7])
    rows, label = torch.arange(4.0)[:, None], torch.ones(4).long()
    found = selected(part, scores, rows, label, 2, ClassQueueBank(3, 8, 1))
    taken = found.label >= 0
    assert found.features[taken].flatten().tolist() == kept_rows  # the best last
    assert found.label[taken].tolist() == [1, 1]
    assert found.rank[taken].tolist() == [1, 0]


@pytest.mark.parametrize('rank', ['highest', 'lowest'])
def test_a_full_bank_keeps_what_a_list_keeps(rank):
    """New vectors go to its front, ranked if they are too many; its end falls out."""
    part, bank = LabeledCandidates(rank=rank), ClassQueueBank(3, 8, 1)
    lists = {c: [] for c in range(3)}
    generator = torch.Generator().manual_seed(0)
    for step in range(12):
        label = torch.randint(-1, 3, (12,), generator=generator)
        scores = torch.rand(12, generator=generator)
        rows = torch.arange(12.0)[:, None] + 100 * step
        new = selected(part, scores, rows, label, 3, bank)
        order = new.rank.sort(stable=True, descending=True).indices
        bank.enqueue(new.features[order], new.label[order])
        for c, kept_rows in lists.items():
            found = (label == c).nonzero().flatten().tolist()
            if len(found) > 3:
                found.sort(key=lambda i: scores[i].item(), reverse=rank == 'highest')
            lists[c] = (rows[found[:3], 0].tolist() + kept_rows)[:8]
    for c, queue in enumerate(kept(bank)):
        assert len(queue) == 8
        assert queue.flatten().tolist() == lists[c][::-1]


def little(inputs):
    """All of class 1 but the first cell of the first image, which is of class 0."""
    for sample in inputs['labeled'].data_samples:
        sample.gt_sem_seg.data[:] = 1
    inputs['labeled'].data_samples[0].gt_sem_seg.data[:, :4, :4] = 0
    return inputs


def test_a_single_candidate_of_a_class_enters(at):
    model = make(**merged(candidates(threshold=None), contrast(bank=dict(size=50))))
    at(1)
    model.loss(little(streams(9)))
    model.update_memory(**model.step_outputs['memory'])
    assert bank_of(model).count.tolist() == [1, 4, 0]  # K * images of class 1


def test_nobody_is_confident_enough(at):
    model = make(**candidates(threshold=1.0))
    for iteration in range(4):
        at(iteration)
        losses = model.loss(streams(iteration))
        model.update_memory(**model.step_outputs['memory'])
        assert losses['loss_contrast'] == 0
    assert (bank_of(model).count == 0).all()
    losses['loss_contrast'].backward()
    params = model.contrast.head_pairs[0].student.parameters()
    assert all(param.grad.eq(0).all() for param in params)


def test_wrong_predictions_do_not_enter(at):
    at(1)
    inputs = streams(9)
    for right in (True, False):
        model = make(**candidates(threshold=0.0))
        with torch.no_grad():  # which is always class 1
            model.teacher.decode_head.conv_seg.bias[1] += 1000
        for sample in inputs['labeled'].data_samples:
            sample.gt_sem_seg.data[:] = 1 if right else 2
        model.loss(inputs)
        assert set(entered(model)['label'].tolist()) - {-1} == ({1} if right else set())


@pytest.mark.parametrize(
    ('size', 'labels', 'factor', 'number'),
    [
        (256, 100, 1, 3),
        (256, 24, 1, 11),
        (512, 100, 1, 5),
        (256, 2975, 1, 1),
        (256, 212, 7, 7),
        (256, 530, 7, 1),
    ],
)
def test_number_that_follows_from_the_labels(size, labels, factor, number):
    model = make()
    model.set_stream_sizes(dict(labeled=labels), dict(labeled=2))
    part = LabeledCandidates(ratio_factor=factor)
    assert part.number_for(model, size) == number
    assert LabeledCandidates(number=4, ratio_factor=factor).number_for(model, size) == 4


def test_the_number_of_labels_must_be_told(at):
    model = make(**candidates(number='size/labeled'))
    at(0)
    model.loss(streams())  # before the first iteration of the bank
    at(1)
    with pytest.raises(RuntimeError, match="number='size/labeled' needs the number"):
        model.loss(streams())
    model.set_stream_sizes(dict(labeled=4), dict(labeled=2))
    model.loss(streams())


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(network='both'), "network must be in .* 'both'"),
        (dict(threshold=95), 'threshold must be in .* 95'),
        (dict(read_at='both'), "read_at must be in .* 'both'"),
        (dict(rank='top'), "rank must be in .* 'top'"),
        (dict(rank_by='bank'), "rank_by must be in .* 'bank'"),
        (dict(number=0), "number must be an integer >= 1 or 'size/labeled', but got 0"),
        (dict(number=2.5), 'number must be an integer >= 1 or .*, but got 2.5'),
        (dict(number=True), 'number must be an integer >= 1 or .*, but got True'),
        (dict(number='half'), "number must be .* or 'size/labeled', but got 'half'"),
        (dict(ratio_factor=0), 'ratio_factor must be an integer >= 1, but got 0'),
        (dict(per='class'), "per must be in .* 'class'"),
        (dict(start=-1), 'start must be an integer >= 0, but got -1'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        LabeledCandidates(**settings)
    cfg = dict(type='CMB', student=make().student_cfg, **candidates(**settings))
    with pytest.raises(ValueError, match=f'^model.contrast.candidates.{message}'):
        build(cfg)
