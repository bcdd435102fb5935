"""Networks of training checkpoints as plain models of MMSegmentation."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import batch, build, spread, student_cfg
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.registry import TRANSFORMS
from PIL import Image
from tiny_run import METAINFO, config, mean_teacher, tiny_student, train, write_data

from mmsemiseg.deploy.checks import picture
from mmsemiseg.engine.checkpoints import (
    CheckpointError,
    plain_values,
    read_checkpoint,
)
from mmsemiseg.utils.export import export_network

ROOT = Path(__file__).resolve().parents[2]
STEPS = [dict(type='LoadImageFromFile')]
CAMVID = dict(type='CamVidDataset', pipeline=STEPS)
# In a process of its own: what plain MMSegmentation makes of the written files
PLAIN_MMSEG = """
import json, sys, torch
from pathlib import Path
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import inference_model, init_model
folder, image, tested = sys.argv[1:]
images = torch.load('images.pt')
found = {}
for path in sorted(Path(folder).glob('*.pth')):
    cfg = str(path.with_suffix('.py'))
    model = init_model(cfg, str(path), device='cpu')
    with torch.no_grad():
        logits = model(images)
    labels = inference_model(model, image).pred_sem_seg.data
    found[path.stem] = dict(logits=logits, labels=labels, meta=model.dataset_meta)
torch.save(found, 'found.pt')
cfg = Config.fromfile(f'{folder}/{tested}.py')
cfg.work_dir, cfg.load_from = 'work', f'{folder}/{tested}.pth'
scores = Runner.from_cfg(cfg).test()
Path('scores.json').write_text(json.dumps(scores, default=float))
assert 'mmsemiseg' not in sys.modules
"""


def ctt(**settings):
    contrast = dict(projector=dict(channels=5), bank=dict(size=4))
    return dict(type='CTT', student=tiny_student(), contrast=contrast, **settings)


def cps():
    return dict(type='CPS', student=tiny_student())


def mmseg_data(cfg):
    """The config tests with a data set of MMSegmentation."""
    for part in ('val', 'test'):
        cfg[f'{part}_dataloader'].dataset.update(
            type='BaseSegDataset', img_suffix='.png'
        )
    cfg.custom_imports = dict(imports=['mmsemiseg'], allow_failed_imports=False)
    return cfg


def trained(root, cfg):
    """Writes config.py and last.pth of a run of one step; all networks differ."""
    runner = train(cfg)
    model = runner.model.eval()
    for seed, network in enumerate(model.networks.values()):
        spread(network, seed)
    saved = read_checkpoint(cfg.work_dir + '/iter_1.pth')
    saved['state_dict'] = model.state_dict()
    torch.save(plain_values(saved), root / 'last.pth')
    cfg.dump(root / 'config.py')
    return runner


def made(model):
    """What a run with this model saves, of random weights."""
    built = build(copy.deepcopy(model)).eval()
    for seed, network in enumerate(built.networks.values()):
        spread(network, seed)
    meta = dict(dataset_meta=METAINFO)
    return built, dict(state_dict=built.state_dict(), meta=meta, optimizer={})


def run_config(model, **settings):
    test = dict(dataset=dict(type='BaseSegDataset', pipeline=STEPS))
    cfg = dict(model=model, test_dataloader=test, test_evaluator=dict(type='IoUMetric'))
    return Config(copy.deepcopy({**cfg, **settings}))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def run(data, tmp_path_factory):
    """Folder with config.py and last.pth of a mean teacher; its runner."""
    folder = tmp_path_factory.mktemp('run')
    cfg = mmseg_data(config(data, folder / 'work', mean_teacher(), max_iters=1))
    cfg.custom_hooks = [dict(type='MeanTeacherHook', decay=0.9)]
    return folder, trained(folder, cfg)


@pytest.fixture
def export(load_tool):
    """``export(config, checkpoint, '--option', ...)`` calls the tool."""
    tool = load_tool('export')
    return lambda *arguments: tool.main(tool.parse_args([*map(str, arguments)]))


def test_plain_mmseg_takes_it(run, data, export, tmp_path, capsys):
    folder, runner = run
    out = tmp_path / 'out'
    for name in ('student', 'teacher'):
        options = ('--network', name, '--out', out)
        export(folder / 'config.py', folder / 'last.pth', *options)
    assert capsys.readouterr().out.count('needs nothing of mmsemiseg') == 2
    networks = dict(runner.model.networks)

    model, saved = made(ctt())
    torch.save(plain_values(saved), tmp_path / 'ctt.pth')
    loader = runner.cfg.test_dataloader.to_dict()
    run_config(ctt(), test_dataloader=loader).dump(tmp_path / 'ctt.py')
    for name in ('student1', 'teacher0'):
        options = ('--network', name, '--out', out)
        export(tmp_path / 'ctt.py', tmp_path / 'ctt.pth', *options)
        networks[name] = model.networks[name]

    images, image = batch().inputs, data / 'val' / 'images' / 'v0.png'
    torch.save(images, tmp_path / 'images.pt')
    command = (sys.executable, '-W', 'ignore', '-c', PLAIN_MMSEG, out, image, 'teacher')
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]

    found = torch.load(tmp_path / 'found.pt')
    assert set(found) == set(networks)
    with torch.no_grad():
        expected = {name: net.eval()(images) for name, net in networks.items()}
    for name, logits in expected.items():
        assert torch.equal(found[name]['logits'], logits), name
        assert found[name]['meta']['classes'] == METAINFO['classes']
        assert found[name]['meta']['palette'] == METAINFO['palette']
    for first, second in (('student', 'teacher'), ('student1', 'teacher0')):
        assert not torch.equal(expected[first], expected[second])
    runner.model.predict_with = 'teacher'
    labels = predicted_labels(runner, image)
    assert torch.equal(found['teacher']['labels'], labels)
    scores = json.loads((tmp_path / 'scores.json').read_text())
    for key, value in runner.test().items():
        assert scores[key] == pytest.approx(float(value))


def predicted_labels(runner, image):
    sample = dict(img_path=str(image))
    for step in (*STEPS, dict(type='PackSegInputs')):
        sample = TRANSFORMS.build(step)(sample)
    sample = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
    return runner.model.test_step(sample)[0].pred_sem_seg.data


def test_files(run, export, tmp_path):
    folder, runner = run
    export(folder / 'config.py', folder / 'last.pth', '--out', tmp_path)
    name = runner.model.predict_with
    assert {p.name for p in tmp_path.iterdir()} == {f'{name}.py', f'{name}.pth'}
    saved = torch.load(tmp_path / f'{name}.pth', weights_only=True)
    assert set(saved) == {'state_dict', 'meta'}
    assert set(saved['meta']) == {'dataset_meta'}
    expected = runner.model.networks[name].state_dict()
    assert saved['state_dict'].keys() == expected.keys()
    assert all(torch.equal(saved['state_dict'][k], expected[k]) for k in expected)
    assert saved['state_dict']._metadata.keys() == expected._metadata.keys()
    assert saved['state_dict']._metadata[''] == expected._metadata['']
    cfg = Config.fromfile(tmp_path / f'{name}.py')
    assert cfg.model.type == 'EncoderDecoder'
    assert cfg.test_pipeline == runner.cfg.test_dataloader.dataset.pipeline
    training = ('train', 'val', 'optim', 'hook', 'runner', 'custom', 'work_dir')
    assert not [k for k in cfg if k.startswith(training)]


def test_nothing_is_overwritten(run, export, tmp_path):
    folder, _ = run
    arguments = (folder / 'config.py', folder / 'last.pth', '--out', tmp_path)
    written = tmp_path / 'teacher.pth', tmp_path / 'teacher.py'
    for path in written:
        path.write_text('mine')
        with pytest.raises(FileExistsError, match=rf'{path.name}: --force overwrites'):
            export(*arguments, '--network', 'teacher')
        assert [p.read_text() for p in tmp_path.iterdir()] == ['mine']
        path.unlink()
    for path in written:
        path.write_text('mine')
    export(*arguments, '--network', 'teacher', '--force')
    assert all(b'mine' != path.read_bytes() for path in written)


@pytest.mark.parametrize('missing', ['config', 'checkpoint'])
def test_missing_files(missing, run, export, tmp_path):
    folder, _ = run
    paths = dict(config=folder / 'config.py', checkpoint=folder / 'last.pth')
    paths[missing] = folder / 'no.file'
    with pytest.raises(FileNotFoundError, match='no.file'):
        export(*paths.values(), '--out', tmp_path)
    assert not list(tmp_path.iterdir())


# ONNX and TorchScript


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr('mmsemiseg.deploy.graphs.SECONDS', 0.0)
    monkeypatch.setattr('mmsemiseg.deploy.graphs.GENERATED', (40, 56))


def block_of_the_docs(word):
    """The Python code of docs/export.md that has the word."""
    text = (ROOT / 'docs' / 'export.md').read_text(encoding='utf-8')
    found = re.findall(r'```python\n(.*?)```', text, re.DOTALL)
    return next(code for code in found if word in code)


def test_the_example_of_the_docs_gives_the_mask_of_predict(
    run, data, export, load_tool, quick, tmp_path, monkeypatch, capsys
):
    folder, _ = run
    monkeypatch.chdir(tmp_path)
    checkpoint = folder / 'last.pth'
    options = ('--network', 'teacher', '--onnx', '--torchscript', '--out', 'plain')
    export(folder / 'config.py', checkpoint, *options)
    told = capsys.readouterr().out
    for part in (
        'plain/teacher.onnx: 0.',
        'RGB bytes (1, height, width, 3) -> classes (1, height, width)',
        'onnxruntime on 40 x 56 and 30 x 70: classes of torch at 100.000 %',
        'prediction of the image file: the same at 100.000 %',
        'x the speed of torch',
    ):
        assert part in told
    (tmp_path / 'new').mkdir()
    photo = picture(50, 60, seed=7)
    Image.fromarray(photo).save('new/photo.png')
    Image.fromarray(photo).save('photo.png')
    script = (
        "import sys\nfor name in ('torch', 'mmseg', 'cv2'): sys.modules[name] = None"
    )
    for word in ('onnxruntime', 'torch.jit'):
        code = block_of_the_docs(word).replace('photo.jpg', 'photo.png')
        code = f'{script}\n{code}' if word == 'onnxruntime' else code
        command = (sys.executable, '-W', 'ignore', '-c', code)
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    predict = load_tool('predict')
    arguments = (checkpoint, 'new', '--config', folder / 'config.py', '--network')
    options = ('teacher', '--out', 'predicted', '--workers', 0, '--device', 'cpu')
    predict.main(predict.parse_args([*map(str, (*arguments, *options))]))
    expected = np.array(Image.open('predicted/masks/photo.png'))
    assert len(np.unique(expected)) > 1
    assert np.array_equal(np.array(Image.open('mask.png')), expected)
    assert np.array_equal(np.array(Image.open('mask_torchscript.png')), expected)


def test_one_size_of_an_image(run, data, export, quick, tmp_path, capsys):
    folder, _ = run
    image = next((data / 'val' / 'images').iterdir())
    options = ('--onnx', '--size', '24x40', '--output', 'logits', '--image', image)
    export(folder / 'config.py', folder / 'last.pth', '--out', tmp_path, *options)
    told = capsys.readouterr().out
    assert '(1, 24, 40, 3) -> logits (1, classes, 24, 40)' in told
    assert 'logits within' in told and 'time of an image of 24 x 40' in told


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (('--size', '32'), ValueError, '--size: of --onnx and --torchscript'),
        (('--input', 'tensor', '--opset', 16), ValueError, '--input, --opset: of'),
        (('--onnx', '--image', 'no.png'), FileNotFoundError, '--image: .*no.png'),
        (('--onnx', '--opset', '99'), ValueError, 'cannot be written as ONNX'),
    ],
)
def test_options_that_cannot_be(run, export, quick, tmp_path, options, error, message):
    folder, _ = run
    with pytest.raises(error, match=message):
        export(folder / 'config.py', folder / 'last.pth', '--out', tmp_path, *options)
    assert not [p for p in tmp_path.iterdir() if p.suffix == '.onnx']


def test_images_that_are_none(run, export, tmp_path):
    folder, _ = run
    (tmp_path / 'a.png').write_bytes(b'no image')
    options = ('--onnx', '--image', tmp_path / 'a.png', '--out', tmp_path / 'out')
    with pytest.raises(OSError, match='a.png'):
        export(folder / 'config.py', folder / 'last.pth', *options)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('text', ['0', '1x2x3', '-4', 'wide', '12x'])
def test_sizes_that_are_none(load_tool, text, capsys):
    with pytest.raises(SystemExit):
        load_tool('export').parse_args(['a.py', 'a.pth', '--out', 'a', '--size', text])
    assert '--size' in capsys.readouterr().err


def test_packages_that_are_missing(run, export, tmp_path, monkeypatch):
    folder, _ = run
    monkeypatch.setattr('mmsemiseg.deploy.files.PACKAGES', ('onnx', 'not_there'))
    with pytest.raises(ImportError, match=r'--onnx needs not_there: .*"\.\[export\]"'):
        export(folder / 'config.py', folder / 'last.pth', '--out', tmp_path, '--onnx')
    assert not list(tmp_path.iterdir())


# Networks


def test_weights_that_are_not_finite(run, export, tmp_path):
    folder, _ = run
    saved = read_checkpoint(folder / 'last.pth')
    saved['state_dict']['pairs.0.teacher.decode_head.conv_seg.bias'][0] = float('nan')
    torch.save(plain_values(saved), tmp_path / 'nan.pth')
    with pytest.raises(CheckpointError, match='nan.pth is of no use: .*conv_seg.bias'):
        export(folder / 'config.py', tmp_path / 'nan.pth', '--out', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_predict_with_is_the_default():
    cfg = ctt(predict_with='teacher1')
    model, saved = made(cfg)
    exported = export_network(run_config(cfg), saved)
    assert exported.network == 'teacher1'
    weight = model.networks['teacher1'].decode_head.conv_seg.weight
    assert torch.equal(
        exported.checkpoint['state_dict']['decode_head.conv_seg.weight'], weight
    )


@pytest.mark.parametrize(
    ('model', 'network', 'message'),
    [
        (mean_teacher(), 'mean', r"one of \['student', 'teacher'\] of this MeanTeach"),
        (mean_teacher(predict_with='mean'), None, r"'mean', of several .*'teacher'\]"),
        (ctt(predict_with='mean_students'), None, r"'mean_students', of several"),
        (ctt(), 'teacher', r"\['student0', 'student1', 'teacher0', 'teacher1'\]"),
        (
            cps(),
            'teacher0',
            r"\['student0', 'student1'\] of this CPS, but got 'teacher0'",
        ),
        (tiny_student(), None, 'EncoderDecoder is no semi-supervised method'),
    ],
)
def test_networks_that_are_not_there(model, network, message):
    with pytest.raises(ValueError, match=message):
        export_network(run_config(model), {}, network)


# Checkpoints


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ({}, 'not the checkpoint of a run: it has no .state_dict.'),
        (dict(weights=1), 'no .state_dict., but weights'),
        (dict(state_dict=dict(a=torch.ones(1))), r'no weights of teacher .*it has \(a'),
    ],
)
def test_files_that_are_no_checkpoint(content, message):
    with pytest.raises(ValueError, match=message):
        export_network(run_config(mean_teacher()), content, 'teacher')


def test_checkpoint_without_classes():
    _, saved = made(mean_teacher())
    for meta in ({}, dict(epoch=1), dict(dataset_meta=dict(classes=None))):
        with pytest.raises(ValueError, match='no classes in meta.dataset_meta'):
            export_network(run_config(mean_teacher()), dict(saved, meta=meta))


def test_checkpoint_that_is_plain_already():
    model, saved = made(mean_teacher())
    saved['state_dict'] = model.teacher.state_dict()
    with pytest.raises(ValueError, match='is one of a plain segmentor already'):
        export_network(run_config(mean_teacher()), saved)


@pytest.mark.parametrize(
    ('model', 'other', 'message'),
    [
        (mean_teacher(), ctt(), r'not of this MeanTeacher.* unknown \(pairs.1.steps'),
        (ctt(), mean_teacher(), r'no weights of student1 of this CTT \(pairs.1.stud'),
        (
            ctt(),
            cps(),
            r'not of this CTT.* missing \(pairs.0.teacher',
        ),
    ],
)
def test_checkpoint_of_another_method(model, other, message):
    _, saved = made(other)
    network = 'student1' if model['type'] == 'CTT' else 'student'
    with pytest.raises(ValueError, match=message):
        export_network(run_config(model), saved, network)


def test_checkpoint_of_other_shapes():
    _, saved = made(mean_teacher())
    wide = mean_teacher()
    wide['student']['decode_head']['num_classes'] = 4
    place = r'decode_head.conv_seg.weight is \(3, 8, 1, 1\), in the config \(4, 8, 1'
    with pytest.raises(ValueError, match=f'2 weights of student .*{place}'):
        export_network(run_config(wide), saved, 'student')


def test_banks_may_have_other_sizes():
    _, saved = made(ctt())
    other = ctt()
    other['contrast']['bank'] = dict(size=9)
    exported = export_network(run_config(other), saved)
    assert exported.network == 'student0'


# Configs


def test_our_head_keeps_the_import(export, tmp_path, capsys):
    model = mean_teacher()
    model['student']['decode_head'] = dict(
        type='DeepLabV2Head', in_channels=8, in_index=0, num_classes=3
    )
    trained_model, saved = made(model)
    torch.save(plain_values(saved), tmp_path / 'last.pth')
    run_config(model).dump(tmp_path / 'config.py')
    arguments = (tmp_path / 'config.py', tmp_path / 'last.pth', '--inference-only')
    export(*arguments, '--network', 'teacher', '--out', tmp_path)
    told = capsys.readouterr().out
    assert 'needs mmsemiseg, which the config imports: DeepLabV2Head (model.dec' in told
    assert '--inference-only it would not' not in told
    cfg = Config.fromfile(tmp_path / 'teacher.py')
    assert cfg.custom_imports.imports == ['mmsemiseg']
    loaded = init_model(cfg, str(tmp_path / 'teacher.pth'), device='cpu')
    images = batch().inputs
    with torch.no_grad():
        assert torch.equal(loaded(images), trained_model.teacher(images))


@pytest.mark.parametrize(
    ('settings', 'needs'),
    [
        ({}, {}),
        (
            dict(
                test_dataloader=dict(dataset=dict(type='CamVidDataset', pipeline=STEPS))
            ),
            dict(CamVidDataset='test_dataloader.dataset'),
        ),
        (
            dict(test_evaluator=[dict(type='mmseg.PerClassIoUMetric')]),
            {'mmseg.PerClassIoUMetric': 'test_evaluator.0'},
        ),
    ],
)
def test_data_and_metrics_of_ours(settings, needs, export, tmp_path, capsys):
    _, saved = made(mean_teacher())
    torch.save(plain_values(saved), tmp_path / 'last.pth')
    imports = dict(imports=['mmsemiseg.models', 'mine'], allow_failed_imports=True)
    cfg = run_config(mean_teacher(), custom_imports=imports, **settings)
    cfg.dump(tmp_path / 'config.py')
    arguments = (tmp_path / 'config.py', tmp_path / 'last.pth', '--out', tmp_path)
    with pytest.warns(UserWarning, match='mine'):
        export(*arguments)
    told = capsys.readouterr().out
    assert all(kind in told for kind in needs)
    assert ('with --inference-only it would not' in told) == bool(needs)
    exported = export_network(cfg, saved)
    assert exported.needs == needs
    kept = ['mmsemiseg', 'mine'] if needs else ['mine']
    assert exported.config.custom_imports == dict(imports, imports=kept)

    bare = export_network(cfg, saved, inference_only=True)
    assert bare.needs == {}
    assert 'test_evaluator' not in bare.config
    assert bare.config.test_dataloader == dict(dataset=dict(pipeline=STEPS))


def test_preprocessor_wherever_it_is():
    numbers = dict(mean=[1.0] * 3, std=[2.0] * 3, size_divisor=8)
    model = dict(type='SupOnly', student=student_cfg())
    _, saved = made(model)
    expected = dict(numbers, type='SegDataPreProcessor')
    model['data_preprocessor'] = dict(numbers, type='SemiDataPreProcessor')
    assert preprocessor_of(model, saved) == expected
    student = student_cfg(data_preprocessor=dict(expected))
    model = dict(type='SupOnly', student=student)
    assert preprocessor_of(model, saved) == expected
    # mmengine's Runner gives the model that of the config's top
    model['data_preprocessor'] = dict(expected, mean=[0.0] * 3)
    assert preprocessor_of(model, saved) == expected
    assert preprocessor_of(dict(type='SupOnly', student=student_cfg()), saved) is None


def preprocessor_of(model, saved):
    found = export_network(run_config(model), saved).config.model
    return found.get('data_preprocessor')


def test_pretrained_weights_are_not_asked_for():
    _, saved = made(mean_teacher())
    model = mean_teacher()
    model['student']['backbone']['init_cfg'] = dict(
        type='Pretrained', checkpoint='not_there.pth'
    )
    cfg = run_config(model)
    exported = export_network(cfg, saved)
    assert 'not_there' not in exported.config.pretty_text
    assert cfg.model.student.backbone.init_cfg.checkpoint == 'not_there.pth'


@pytest.mark.parametrize('wrapped', [False, True])
def test_validation_data_where_there_are_no_test_data(wrapped):
    _, saved = made(mean_teacher())
    dataset = dict(type='BaseSegDataset', pipeline=STEPS)
    if wrapped:
        dataset = dict(type='ConcatDataset', datasets=[dataset, dict(pipeline=[])])
    cfg = run_config(
        mean_teacher(),
        test_dataloader=None,
        test_evaluator=None,
        val_dataloader=dict(dataset=dataset),
        val_evaluator=dict(type='IoUMetric'),
        val_cfg=dict(type='TeacherStudentValLoop'),
    )
    exported = export_network(cfg, saved).config
    assert exported.test_pipeline == STEPS
    assert exported.test_dataloader == dict(dataset=dataset)
    assert exported.test_evaluator == dict(type='IoUMetric')
    assert exported.test_cfg == dict(type='TestLoop')


def test_config_without_data():
    _, saved = made(mean_teacher())
    exported = export_network(Config(dict(model=mean_teacher())), saved).config
    assert not [key for key in exported if key.startswith('test')]
    with pytest.raises(ValueError, match='no model'):
        export_network(Config({}), saved)
