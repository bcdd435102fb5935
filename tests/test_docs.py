"""What the documentation shows is true: links, commands, configs and code.

Marks above a code block: `<!-- run: name -->`, it is executed (the blocks of a file one
after the other); `<!-- config: path -->`, it is a config at this path.
"""

import argparse
import inspect
import re
import runpy
import shlex
import sys
import textwrap
from pathlib import Path

import pytest
from helpers import build, streams, student_cfg
from mmengine.config import Config
from mmseg.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS, RUNNERS
from mmseg.utils import register_all_modules
from op_heads import MISSING
from PIL import Image
from torch.distributed.run import get_args_parser as torchrun_parser

from mmsemiseg.datasets import StreamDataset
from mmsemiseg.datasets.synthetic import make_sample

ROOT = Path(__file__).resolve().parents[1]
DOCS = [
    ROOT / 'README.md',
    ROOT / 'CHANGELOG.md',
    *sorted((ROOT / 'docs').glob('**/*.md')),
]
BLOCK = re.compile(
    r'(?:^ *<!-- (?P<mark>run|config)(?:: *(?P<name>\S+))? -->\n)?'
    r'^ *```(?P<kind>\w+)\n(?P<body>.*?)^ *```$',
    re.MULTILINE | re.DOTALL,
)
TOOLS = {path.stem: path for path in (ROOT / 'tools').rglob('*.py')}
MIM_OPTIONS = ('--gpus', '--gpus-per-node', '--partition')  # no tool sees them
VARIABLES = 'PYTHONPATH=.|MMCV_WITH_OPS=[01]|OMP_NUM_THREADS=4'
SEGFORMER = """
default_scope = 'mmseg'
crop_size = (64, 64)
norm_cfg = dict(type='SyncBN', requires_grad=True)
model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor', mean=[1.0] * 3, std=[2.0] * 3, size=(64, 64)),
    pretrained=None,
    backbone=dict(
        type='MixVisionTransformer', embed_dims=8, num_layers=[1] * 4,
        num_heads=[1, 2, 5, 8], sr_ratios=[8, 4, 2, 1]),
    decode_head=dict(
        type='SegformerHead', in_channels=[8, 16, 40, 64], in_index=[0, 1, 2, 3],
        channels=8, num_classes=3, norm_cfg=norm_cfg),
    test_cfg=dict(mode='whole'))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type='FolderSegDataset', data_root='data/mine',
        ann_file='splits/50/labeled.txt',
        data_prefix=dict(img_path='images', seg_map_path='masks'),
        metainfo=dict(classes=('a', 'b', 'c')),
        pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'),
                  dict(type='PackSegInputs')]))
train_cfg = dict(type='IterBasedTrainLoop', max_iters=4, val_interval=2)
val_cfg = dict(type='ValLoop')
"""


def blocks(path):
    """(mark, name, kind, body) of the code blocks of a file."""
    found = BLOCK.finditer(path.read_text(encoding='utf-8'))
    return [
        (m['mark'], m['name'], m['kind'], textwrap.dedent(m['body'])) for m in found
    ]


def doc_configs():
    configs = {}
    for path in DOCS:
        for mark, name, _, body in blocks(path):
            if mark == 'config':
                assert name not in configs, name
                configs[name] = body
    return configs


def commands():
    for path in DOCS:
        for _, _, kind, body in blocks(path):
            if kind == 'bash':
                for line in body.replace('\\\n', ' ').splitlines():
                    yield pytest.param(
                        line, id=f'{path.stem}: {" ".join(line.split())}'
                    )


CONFIGS = doc_configs()


def write_images(folder, numbers, part, masks=True):
    for kind in ('images', 'masks')[: 1 + masks]:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for i in numbers:
        sample = make_sample((part, i), 64)
        Image.fromarray(sample.image).save(folder / 'images' / f'{i:04}.jpg')
        if masks:
            mask = Image.fromarray(sample.mask % 3)
            mask.save(folder / 'masks' / f'{i:04}.png')


@pytest.fixture(scope='module')
def project(tmp_path_factory):
    """The folder that the documentation speaks of: data, configs, a mmseg config."""
    register_all_modules()
    folder = tmp_path_factory.mktemp('project')
    mine = folder / 'data' / 'mine'
    write_images(mine, range(6), 0)
    write_images(mine / 'val', range(2), 1)
    write_images(folder / 'data' / 'new', range(2), 2, masks=False)
    write_images(folder / 'data' / 'more', (90, 91), 3, masks=False)
    for path in (folder / 'data' / 'more' / 'images').iterdir():
        path.rename(folder / 'data' / 'more' / path.name)
    (folder / 'data' / 'list.txt').write_text('data/mine/images/0005.jpg\n')
    split = mine / 'splits' / '50'
    split.mkdir(parents=True)
    (split / 'labeled.txt').write_text('0000\n0001\n')
    (split / 'unlabeled.txt').write_text('0002\n0003\n0004\n0005\n')
    (folder / 'configs').mkdir()
    for name in ('_base_', 'baselines', 'ctt', 'rc2l'):
        (folder / 'configs' / name).symlink_to(ROOT / 'configs' / name)
    (folder / 'my_method.py').write_text('')
    for name, body in {**CONFIGS, 'mm/my_segformer.py': SEGFORMER}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(body)
    return folder


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setenv('LOCAL_RANK', '0')
    return project


@pytest.fixture(scope='module')
def executed():
    """Namespace of each file after its runnable blocks."""
    register_all_modules()
    spaces = {}
    for path in DOCS:
        space = {'__name__': path.stem}
        for mark, _, _, body in blocks(path):
            if mark == 'run':
                exec(compile(body, str(path), 'exec'), space)
        spaces[path.stem] = space
    return spaces


def test_marks_are_understood():
    text = ''.join(path.read_text(encoding='utf-8') for path in DOCS)
    marked = [b for path in DOCS for b in blocks(path) if b[0]]
    assert len(marked) == text.count('<!-- run') + text.count('<!-- config')
    assert len(CONFIGS) >= 8


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_links(path):
    text = re.sub(BLOCK, '', path.read_text(encoding='utf-8'))
    broken = []
    for link in re.findall(r'\]\(([^)\s]+)\)', text):
        if '://' in link:
            continue
        name, _, anchor = link.partition('#')
        target = (path.parent / name).resolve() if name else path
        if not target.exists() or anchor and anchor not in anchors(target):
            broken.append(link)
    assert broken == []


def anchors(path):
    text = re.sub(BLOCK, '', path.read_text(encoding='utf-8'))
    titles = re.findall(r'^#+ (.+)$', text, re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', t.lower()).replace(' ', '-') for t in titles}


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_lines_are_short(path):
    lines = path.read_text(encoding='utf-8').splitlines()
    assert [x for x in lines if len(x) > 100 and not x.startswith('|')] == []


@pytest.mark.parametrize('path', DOCS, ids=lambda path: path.name)
def test_named_files_and_flags_exist(path):
    text = path.read_text(encoding='utf-8')
    files = {p.name for p in (ROOT / 'configs').rglob('*.py')} | {
        Path(name).name for name in CONFIGS
    }
    named = re.findall(r'[\w.-]+_[\w.-]*(?:quickstart|camvid-[\w]+)\.py', text)
    named += re.findall(r'configs/[\w./-]+\.py', text)
    assert [name for name in named if Path(name).name not in files] == []
    shared = ROOT / 'mmsemiseg' / 'visualization' / 'arguments.py'
    tools = [*TOOLS.values(), shared]
    sources = ''.join(tool.read_text(encoding='utf-8') for tool in tools)
    flags = set(re.findall(r'`(--[\w-]+)', text)) - {*MIM_OPTIONS, '--help'}
    assert [flag for flag in flags if f"'{flag}'" not in sources] == []


@pytest.mark.parametrize('line', list(commands()))
def test_command(line, inside, monkeypatch):
    words = shlex.split(line)
    while '=' in words[0]:
        assert re.fullmatch(VARIABLES, words.pop(0))
    match words:
        case ['make', target, *settings]:
            makefile = (ROOT / 'Makefile').read_text()
            assert f'\n{target}: ' in makefile
            script = (ROOT / '.ci' / 'setup_env.sh').read_text()
            assert all(f'# {s.split("=")[0]} ' in script for s in settings)
        case ['pip', 'install', *rest]:
            named = [r for r in rest if '/' in r]
            named += [f'requirements/{e}.txt' for e in re.findall(r'\[(\w+)\]', line)]
            assert all((ROOT / name).is_file() for name in named)
        case ['mim', 'run', 'mmsemiseg', tool, '--', '--help'] | [
            'python',
            '-m',
            'mmsemiseg',
            tool,
            '--help',
        ]:
            assert "if __name__ == '__main__':" in TOOLS[tool].read_text()
        case ['mim', 'run', 'mmsemiseg', tool, *rest]:
            check_tool(TOOLS[tool], rest, monkeypatch)
        case ['mim', 'train' | 'test' as tool, 'mmsemiseg', *rest]:
            for option in set(MIM_OPTIONS) & set(rest):
                at = rest.index(option)
                assert option == '--partition' or int(rest[at + 1]) > 0
                del rest[at : at + 2]
            check_tool(TOOLS[tool], rest, monkeypatch)
        case ['torchrun', *rest]:
            args = torchrun_parser().parse_args(rest)
            tool = ROOT / args.training_script
            check_tool(tool, args.training_script_args, monkeypatch)
        case ['python', '-m', 'mmsemiseg', tool, *rest]:
            check_tool(TOOLS[tool], rest, monkeypatch)
        case ['python', tool, *rest]:
            check_tool(ROOT / tool, rest, monkeypatch)
        case ['tensorboard', '--logdir', _] | ['.', '.venv/bin/activate']:
            pass
        case ['ls', 'data/mine/masks', '|', 'sed', *_]:
            pass
        case _:
            pytest.fail(f'not known to this test: {line}')


def check_tool(tool, words, monkeypatch):
    """The tool's parser takes the words, and the config the options."""
    monkeypatch.setattr(sys, 'argv', [str(tool), *words])
    args = runpy.run_path(str(tool), run_name='docs')['parse_args']()
    assert isinstance(args, argparse.Namespace)
    if not getattr(args, 'config', None):
        return
    found = [p for p in (ROOT / 'configs').rglob('*.py') if p.name == args.config]
    path = found[0] if found else Path(args.config)
    cfg = Config.fromfile(path)
    for key in args.cfg_options or ():
        place = cfg
        for part in key.split('.')[:-1]:
            place = place[part]
    cfg.merge_from_dict(args.cfg_options or {})
    if any(key.startswith('model.') for key in args.cfg_options or ()):
        build_model(cfg)


def build_model(cfg):
    if cfg.model.type == 'RC2L' and MISSING:
        pytest.skip(f'no mmdet: {MISSING}')
    return MODELS.build(cfg.model)


@pytest.mark.parametrize('name', CONFIGS)
def test_config_builds(name, inside, executed):
    cfg = Config.fromfile(name)
    model = build_model(cfg)
    assert list(model.networks)
    hooks = cfg.get('custom_hooks', [])
    for hook in hooks:
        HOOKS.build(hook)
    if name != 'mm/student.py':  # a part of a config
        moved = any(hook.type == 'MeanTeacherHook' for hook in hooks)
        assert moved == any(pair.teacher is not None for pair in model.pairs)
    for key, given in (('train_cfg', 2), ('val_cfg', 3)):  # what the runner gives
        settings = dict(cfg[key])
        loop = LOOPS.get(settings.pop('type'))
        inspect.signature(loop).bind(*[None] * given, **settings)
    if 'runner_type' in cfg:
        assert RUNNERS.get(cfg.runner_type) is not None
    if 'test_evaluator' in cfg:
        METRICS.build(cfg.test_evaluator)
    if 'quickstart' in CONFIGS[name] or name == 'mm/student.py':
        return
    sizes = {}
    for stream, loader in cfg.train_dataloader.items():
        dataset = StreamDataset(loader.dataset, stream)
        item = dataset[0]
        views = [item] if 'inputs' in item else list(item.values())
        assert all(view['inputs'].shape[0] == 3 for view in views)
        sizes[stream] = len(dataset)
    assert sizes['labeled'] == 2
    if name == 'configs/mine/unlabeled.py':
        assert sizes['unlabeled'] == 4 + 2
    if 'test_dataloader' in cfg:
        assert DATASETS.build(cfg.test_dataloader.dataset)[0]['inputs'].shape[0] == 3
    for hook in cfg.get('custom_hooks', []):
        if 'dataloader' in hook:
            assert len(DATASETS.build(hook.dataloader.dataset)) == 4


def test_added_method_trains(executed):
    space = executed['add_a_method']
    part = dict(type='TrackedDifference', weight=2.0)
    model = build(
        dict(type='TrackedConsistency', student=student_cfg(), difference=part)
    )
    inputs = streams()
    losses = model.loss(inputs)
    assert losses['loss_unsup'] > 0
    losses['loss_unsup'].backward()
    assert model.student.backbone.stem[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.teacher.parameters())
    assert model.has_memory
    assert model.difference.mean == 0
    model.update_memory(**model.step_outputs['memory'])
    expected = 0.01 * losses['loss_unsup'].item()
    assert model.difference.mean.item() == pytest.approx(expected)
    for view in inputs['unlabeled'].values():
        for sample in view.data_samples:
            sample.valid_map.data[:] = False
    assert model.loss(inputs)['loss_unsup'] == 0
    wrong = dict(type='SquaredDifference', weight=-1)
    with pytest.raises(ValueError, match=r'model\.difference\.weight must be a number'):
        space['Consistency'](student_cfg(), difference=wrong)


def test_the_complete_method_is_short():
    text = (ROOT / 'docs/add_a_method.md').read_text(encoding='utf-8')
    code = next(m['body'] for m in BLOCK.finditer(text) if m['name'] == 'Consistency')
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 40


def test_hooks_of_monitoring_build(executed):
    built = [HOOKS.build(hook) for hook in executed['monitoring']['custom_hooks']]
    assert len(built) == 4
