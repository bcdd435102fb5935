import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers import student_cfg
from mmengine.config import ConfigDict
from mmseg.models.decode_heads import FCNHead
from op_heads import mask_student, needs_ops
from saved_model import run_config, save_model
from tiny_run import tiny_student
from zoo import ZOO

from mmsemiseg.apis import Predictor
from mmsemiseg.deploy import Settings, write_graphs
from mmsemiseg.deploy import graphs as module
from mmsemiseg.deploy.checks import picture
from mmsemiseg.engine.checkpoints import read_checkpoint

BOTH = ('.onnx', '.pt')


@pytest.fixture
def make(tmp_path, monkeypatch):
    """``make(model, suffixes, **settings)`` -> report and the paths."""
    monkeypatch.setattr(module, 'SECONDS', 0.0)
    monkeypatch.setattr(module, 'GENERATED', (40, 56))

    def made(model=None, suffixes=BOTH, image=None, **settings):
        model = model or tiny_student()
        path = str(tmp_path / 'a.pth')
        save_model(path, model)
        predictor = Predictor(run_config(model), read_checkpoint(path), path)
        paths = {one: tmp_path / f'a{one}' for one in suffixes}
        about = dict(network='teacher')
        return write_graphs(predictor, paths, Settings(**settings), image, about), paths

    return made


def test_any_size(make):
    found, paths = make()
    assert found.sizes == [(40, 56), (30, 70)]
    assert [one.path for one in found.files] == list(paths.values())
    assert all(one.pixels > 0.999 and one.difference is None for one in found.files)
    assert found.predicted > 0.98
    assert list(found.times) == ['torch', 'onnxruntime', 'TorchScript']
    assert all(value > 0 for value in found.times.values())
    image = picture(50, 60, seed=3)[None]
    session = onnxruntime.InferenceSession(str(paths['.onnx']))
    (classes,) = session.run(None, dict(image=image))
    assert classes.shape == (1, 50, 60) and classes.dtype == np.uint8
    loaded = torch.jit.load(str(paths['.pt']))
    assert np.mean(loaded(torch.from_numpy(image)).numpy() == classes) > 0.999
    assert len(np.unique(classes)) > 1


def test_what_the_files_say_of_themselves(make):
    _, paths = make(opset=16)
    model = onnx.load(str(paths['.onnx']))
    assert model.opset_import[0].version == 16
    found = {one.key: json.loads(one.value) for one in model.metadata_props}
    assert found['classes'] == ['a', 'b', 'c'] and found['network'] == 'teacher'
    files = {'about.json': ''}
    torch.jit.load(str(paths['.pt']), _extra_files=files)
    assert json.loads(files['about.json']) == found


def test_one_size_and_logits(make):
    found, paths = make(size=(32, 48), outputs='logits', image=picture(90, 100))
    assert found.sizes == [(32, 48)]
    assert all(one.difference < 1e-2 for one in found.files)
    session = onnxruntime.InferenceSession(str(paths['.onnx']))
    assert session.get_inputs()[0].shape == [1, 32, 48, 3]
    assert session.get_outputs()[0].shape == [1, 3, 32, 48]


def test_a_prepared_tensor(make):
    found, paths = make(inputs='tensor', suffixes=['.onnx'])
    assert found.predicted is None and list(found.times) == ['torch', 'onnxruntime']
    session = onnxruntime.InferenceSession(str(paths['.onnx']))
    assert session.get_inputs()[0].shape == [1, 3, 'height', 'width']


def test_windows(make):
    student = tiny_student()
    student['test_cfg'] = ConfigDict(mode='slide', crop_size=(16, 16), stride=(11, 11))
    found, _ = make(student, size=(40, 40))
    assert all(one.pixels > 0.999 for one in found.files)


def test_a_head_that_pools_to_several_cells(make):
    head = dict(type='PSPHead', pool_scales=(1, 2, 3, 6), num_convs=None)
    student = student_cfg(
        decode_head=head, data_preprocessor=dict(type='SegDataPreProcessor')
    )
    del student['decode_head']['num_convs']
    found, _ = make(student)
    assert all(one.pixels > 0.999 for one in found.files)


@pytest.mark.slow
@pytest.mark.parametrize('name', [n for n in ZOO if n != 'fcn_without_dropout'])
def test_every_kind_of_head(make, name):
    check_one_size(make, ZOO[name])


@needs_ops
@pytest.mark.slow
@pytest.mark.parametrize('name', ['maskformer', 'mask2former'])
def test_heads_that_need_compiled_ops(make, name):
    check_one_size(make, mask_student(name))


def check_one_size(make, student):
    student = ConfigDict(copy.deepcopy(student))
    student.data_preprocessor = dict(type='SegDataPreProcessor', mean=[120.0] * 3)
    student.data_preprocessor.std = [60.0] * 3
    found, _ = make(student, suffixes=['.onnx'], size=(64, 96))
    assert found.files[0].pixels > 0.99


@pytest.mark.slow
@pytest.mark.parametrize('name', ['ddrnet', 'pidnet'])
def test_sides_that_must_be_multiples(make, name):
    student = ConfigDict(copy.deepcopy(ZOO[name]))
    student.data_preprocessor = dict(type='SegDataPreProcessor')
    with pytest.raises(ValueError, match='no image of 41 x 56: .*size_divisor') as told:
        make(student, size=(41, 56))
    assert '--size' not in str(told.value)
    student.data_preprocessor.test_cfg = dict(size_divisor=8)
    found, _ = make(student)
    assert found.sizes == [(40, 56), (30, 70)]


def test_a_size_that_the_network_keeps(make, tmp_path, monkeypatch):
    classify = FCNHead.cls_seg

    def kept(self, x):  # a trace makes a constant of the slope
        ramp = torch.linspace(0, 90, int(x.shape[2]))[: x.shape[2], None]
        return classify(self, x) + ramp * torch.tensor([1.0, 0, -1]).view(3, 1, 1)

    monkeypatch.setattr(FCNHead, 'cls_seg', kept)
    with pytest.raises(ValueError, match=r'a.onnx .*an image of .*name one by --size'):
        make(suffixes=['.onnx'])
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_an_operation_that_onnx_has_not(make, tmp_path, monkeypatch):
    forward = FCNHead.cls_seg
    monkeypatch.setattr(
        FCNHead, 'cls_seg', lambda self, x: torch.special.i1(forward(self, x))
    )
    with pytest.raises(
        ValueError, match=r'\(FCNHead\) cannot be written as ONNX: .*i1'
    ):
        make(size=(32, 32))
    assert not (tmp_path / 'a.onnx').exists()
    make(suffixes=['.pt'], size=(32, 32))


def test_an_opset_that_is_not_there(make):
    with pytest.raises(ValueError, match='cannot be written as ONNX: .*99'):
        make(suffixes=['.onnx'], size=(32, 32), opset=99)
