"""The baseline is plain mmseg training."""

import pytest
import torch
from helpers import batch, build, spread, streams, student_cfg, total
from torch.testing import assert_close


def pair_of_models(**settings):
    """SupOnly and the plain segmentor, with the same weights."""
    cfg = dict(type='SupOnly', student=student_cfg(), **settings)
    model, plain = build(cfg).train(), build(student_cfg()).train()
    spread(model.student, seed=5)
    spread(plain, seed=5)
    return model, plain


def test_the_initial_weights_are_those_of_plain_mmseg():
    model = build(dict(type='SupOnly', student=student_cfg()), seed=3)
    plain = build(student_cfg(), seed=3)
    for key, value in plain.state_dict().items():
        assert torch.equal(model.student.state_dict()[key], value), key


def test_loss_and_gradient_are_those_of_the_plain_segmentor():
    model, plain = pair_of_models()
    data = streams()
    losses, expected = model.loss(data), plain.loss(*data['labeled'])
    assert {f'sup.{key}' for key in expected} == set(losses)
    assert_close(total(losses), total(expected))
    total(losses).backward()
    total(expected).backward()
    for (name, p), q in zip(
        model.student.named_parameters(), plain.parameters(), strict=True
    ):
        assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_the_unlabeled_stream_has_no_effect():
    with_stream, _ = pair_of_models()
    without, _ = pair_of_models()
    data = streams()
    first = total(with_stream.loss(data))
    second = total(without.loss(dict(labeled=data['labeled'])))
    assert torch.equal(first, second)


def test_a_second_stream_is_summed():
    model, plain = pair_of_models(streams=('labeled', 'pseudo'))
    data = dict(labeled=batch(2, 1), pseudo=batch(2, 2))
    losses = model.loss(data)
    first = plain.loss(*data['labeled'])
    second = plain.loss(*data['pseudo'])
    assert set(losses) == {
        *(f'sup.{key}' for key in first),
        *(f'pseudo.{key}' for key in second),
    }
    summed, _ = model.parse_losses(losses)
    assert_close(summed, total(first) + total(second))
    assert losses['sup.decode.loss_ce'] != losses['pseudo.decode.loss_ce']


def test_streams_without_labeled_are_an_error():
    with pytest.raises(ValueError, match=r"streams must contain 'labeled', .*'pseudo'"):
        build(dict(type='SupOnly', student=student_cfg(), streams=('pseudo',)))


def test_an_ema_copy_changes_no_loss():
    model, plain = pair_of_models(teacher=dict(buffers='copy'), predict_with='teacher')
    data = streams()
    assert list(model.networks) == ['student', 'teacher']
    assert_close(total(model.loss(data)), total(plain.loss(*data['labeled'])))
