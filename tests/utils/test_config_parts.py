import pytest

from mmsemiseg.utils.config_parts import dotted, find_part, parts

CONFIG = dict(
    model=dict(type='CMB', student=dict(backbone=dict(depth=18, strides=[1, 2]))),
    custom_hooks=[dict(type='MemoryHook')],
    empty={},
)


def test_plain_lists_and_empty_dicts_are_one_part():
    names = [dotted(path) for path in parts(CONFIG)]
    assert names == [
        'model',
        'model.type',
        'model.student',
        'model.student.backbone',
        'model.student.backbone.depth',
        'model.student.backbone.strides',
        'custom_hooks',
        'custom_hooks.0',
        'custom_hooks.0.type',
        'empty',
    ]


def test_find_part():
    found = find_part(CONFIG, 'model.student.backbone.depth')
    assert found == (('model', 'student', 'backbone', 'depth'), 18)
    assert find_part(CONFIG, 'custom_hooks.0')[1] == dict(type='MemoryHook')


@pytest.mark.parametrize(
    ('name', 'told'),
    [
        ('model.studnet', 'did you mean model.student.*model has type, student'),
        ('backbone.depth', 'did you mean model.student.backbone.depth'),
        ('custom_hooks.1', 'custom_hooks has 0'),
        ('model.type.x', "model.type is 'CMB'"),
        ('xyz', 'the config has model, custom_hooks, empty'),
    ],
)
def test_an_unknown_part_is_an_error_with_near_names(name, told):
    with pytest.raises(ValueError, match=f'there is no {name} in the config: .*{told}'):
        find_part(CONFIG, name)
