"""CPS: students that label for each other; test_ctt.py compares it with loops."""

import pytest
import torch
from ctt_models import inputs_of, make, mixed_up, tiny_student
from helpers import build, frozen_copy


def make_cps(contrast=None, **settings):
    return make(type='CPS', contrast=contrast, **settings)


@pytest.mark.parametrize(
    ('mix', 'one_view', 'passes'),
    [
        (None, True, 2),
        (None, False, 3),
        (dict(type='CutMix'), True, 3),
        (dict(type='ClassMix'), False, 3),
    ],
)
@pytest.mark.parametrize('contrast', [None, {}])
def test_labels_are_read_where_they_are_learned(mix, one_view, passes, contrast):
    model, seen = make_cps(contrast, mix=mix), []
    model.student.backbone.register_forward_hook(lambda *args: seen.append(1))
    model.loss(inputs_of(one_view=one_view))
    assert len(seen) == passes
    assert list(model.networks) == ['student0', 'student1']


@pytest.mark.parametrize('count', [2, 3])
@pytest.mark.parametrize('one_view', [True, False])
def test_students_learn_from_all_others(count, one_view):
    model, inputs = make_cps(num_pairs=count), inputs_of(one_view=one_view)

    def losses():
        found = model.loss(inputs)
        return [value.item() for key, value in found.items() if 'loss_ct' in key]

    before = losses()
    for index, pair in enumerate(model.pairs):
        state = frozen_copy(pair.student)
        mixed_up(pair.student, seed=50 + index)
        pair.student.train()
        assert all(a != b for a, b in zip(losses(), before, strict=True))
        pair.student.load_state_dict(state)
    with torch.no_grad():
        for pair in model.pairs:
            logits = model.adapter(pair.student, inputs['labeled'].inputs).logits
            assert logits.argmax(1).unique().tolist() == [0, 1, 2]


def test_it_has_no_teachers():
    model = make_cps({})
    assert not model.has_teachers
    assert model.predict_with == 'student0'
    assert not any('teacher' in key for key in model.state_dict())
    assert not any(
        'contrast' in key or 'bank' in key for key in make_cps().state_dict()
    )


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(num_pairs=1), 'num_pairs of CPS must be an integer >= 2, .* got 1'),
        (dict(num_pairs=0), 'num_pairs must be an integer >= 1, but got 0'),
        (dict(teacher=dict(mode='eval')), "CPS has no setting 'teacher'"),
        (dict(teaching='own'), "CPS has no setting 'teaching'"),
        (dict(predict_with='teacher0'), 'predict_with of CPS must be in'),
        (dict(ct_weight=1), "model has no setting 'ct_weight'"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(dict(type='CPS', student=tiny_student(), **settings))
