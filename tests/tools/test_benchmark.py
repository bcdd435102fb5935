import json
import random
import statistics
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
import tiny_run
import torch
from mmengine.config import Config
from PIL import Image

from mmsemiseg.benchmark import formats

ROOT = Path(__file__).resolve().parents[2]
CONFIG = 'configs/benchmark/mean-teacher_cutmix_deeplabv3plus-r18_synthetic-320.py'
LABELED = dict(
    network='student', kind='loss', shape=[2, 3, 32, 32], grad=True, mode='train'
)
UNLABELED = dict(
    network='student', kind='forward', shape=[3, 3, 32, 32], grad=True, mode='train'
)
LABELER = dict(UNLABELED, grad=False, mode='eval')


@pytest.fixture
def overhead(load_tool):
    return load_tool('benchmark/step_overhead')


@pytest.fixture
def pipeline(load_tool):
    return load_tool('benchmark/data_pipeline')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return tiny_run.write_data(tmp_path_factory.mktemp('data'))


def tiny_config(data, folder, **settings):
    cfg = tiny_run.config(data, folder / 'run', **settings)
    path = folder / 'tiny.py'
    cfg.dump(path)
    return str(path)


def fix_match():
    return dict(
        type='FixMatch',
        student=tiny_run.tiny_student(),
        pseudo_loss=dict(threshold=0.0),
    )


def run(tool, config, folder, *options):
    out = folder / 'out.json'
    assert tool.main([config, '--out', str(out), *options]) == 0
    return json.loads(out.read_text())


@pytest.mark.parametrize(
    ('model', 'passes'),
    [
        (None, [LABELED, dict(LABELER, network='teacher'), UNLABELED]),
        (fix_match(), [LABELED, LABELER, UNLABELED]),
        (tiny_run.sup_only(), [LABELED]),
    ],
    ids=['MeanTeacher', 'FixMatch', 'SupOnly'],
)
def test_time_and_shares(overhead, data, tmp_path, capsys, model, passes):
    config = tiny_config(data, tmp_path, model=model)
    options = ['--repeats', '3', '--warmup', '1', '--no-memory']
    result = run(overhead, config, tmp_path, *options)
    assert result['passes'] == passes
    seconds = result['seconds']
    assert [len(seconds[form]) for form in ('full', 'bare')] == [3, 3]
    assert result['full'] == statistics.median(seconds['full'])
    assert result['bare'] == statistics.median(seconds['bare'])
    assert result['ratio'] == result['full'] / result['bare']
    low, high = result['ratio_range']
    single = [f / b for f, b in zip(seconds['full'], seconds['bare'], strict=True)]
    assert (low, high) == (min(single), max(single))

    full, bare = (set(result['stages'][form]) for form in ('full', 'bare'))
    assert sum(overhead.shares(result['stages']['full']).values()) == pytest.approx(100)
    both = {'backward', 'optimizer', 'supervised pass', 'everything else'}
    unlabeled = {'student pass', 'pass without gradient'} if len(passes) > 1 else set()
    assert bare == both | unlabeled
    own = {'mixing', 'pseudo labels', 'pseudo label loss', 'upsampling'}
    assert full >= bare | {'preprocessing', 'hooks'} | (own if unlabeled else set())
    assert unlabeled or not own & full
    assert ('EMA update' in full) == (model is None)
    assert result['about']['config'] == 'tiny.py'
    assert result['about']['seed'] == 5
    printed = capsys.readouterr().out
    assert f'= {result["ratio"]:.3f}\n' in printed
    students = sum(p['network'] == 'student' for p in passes)
    assert printed.count('| student | ') == students


CTT = 'configs/benchmark/ctt_deeplabv3plus-r50_synthetic-320.py'
CMB = 'configs/benchmark/cmb_deeplabv3plus-r50_synthetic-320.py'


def tiny_benchmark(path, folder, **model):
    """The benchmark's config, with small images and a small network."""
    cfg = Config.fromfile(ROOT / path)
    tiny_run.shrink(cfg.train_dataloader)
    cfg.synthetic.update(size=80, counts=dict(labeled=4, unlabeled=2))
    student = cfg.model.student
    student.backbone.update(depth=18, base_channels=8)
    student.decode_head.update(in_channels=64, c1_in_channels=8, channels=8)
    cfg.merge_from_dict(dict(model=model))
    path = folder / 'benchmark.py'
    cfg.dump(path)
    return str(path)


def test_the_step_of_cmb(overhead, tmp_path):
    """All passes on augmented images but the teacher's first."""
    kept = []
    original = overhead.BareStep.__init__

    def keep(self, model, wrapper, calls):
        kept.append((model, calls))
        original(self, model, wrapper, calls)

    with patch.object(overhead.BareStep, '__init__', keep):
        options = ['--repeats', '1', '--warmup', '1', '--no-memory']
        contrast = dict(bank=dict(size=8), proj_hidden=8, proj_channels=8)
        config = tiny_benchmark(CMB, tmp_path, contrast=contrast)
        result = run(overhead, config, tmp_path, *options)
    views = dict(
        network='student', kind='forward', shape=[4, 3, 64, 64], grad=True, mode='train'
    )
    teacher = dict(views, network='teacher', grad=False)
    assert result['passes'] == [
        dict(teacher, shape=[2, 3, 64, 64]),
        dict(views, kind='loss'),
        views,
        teacher,
    ]
    model, (_, labeled, _, again) = kept[0]
    assert torch.equal(labeled.inputs, again.inputs)
    assert (model.contrast.banks[0].count > 0).any()

    full, bare = (set(result['stages'][form]) for form in ('full', 'bare'))
    own = {'augmentation', 'projection', 'attention', 'EMA update', 'memory update'}
    assert own <= full and not own & bare


def test_the_step_of_ctt(overhead, tmp_path):
    """Both pairs: two passes of each student and of each teacher, and full banks."""
    kept = []
    original = overhead.BareStep.__init__

    def keep(self, model, *args):
        kept.append(model)
        original(self, model, *args)

    with patch.object(overhead.BareStep, '__init__', keep):
        options = ['--repeats', '1', '--warmup', '1', '--no-memory']
        config = tiny_benchmark(CTT, tmp_path, contrast=dict(bank=dict(size=8)))
        result = run(overhead, config, tmp_path, *options)
    found = [(p['network'], p['kind'], p['grad']) for p in result['passes']]
    expected = [
        *[(f'teacher{i}', 'forward', False) for i in (0, 1)] * 2,
        *[(f'student{i}', kind, True) for i in (0, 1) for kind in ('loss', 'forward')],
    ]
    assert sorted(found) == sorted(expected)
    assert all(bank.count.eq(8).all() for bank in kept[0].contrast.banks)
    levels = {f'contrast loss, {level} level' for level in ('high', 'low')}
    assert levels <= set(result['stages']['full'])
    assert not levels & set(result['stages']['bare'])


def test_full_banks_of_a_method_without(overhead, data, tmp_path):
    path = tiny_config(data, tmp_path, full_banks=True)
    with pytest.raises(ValueError, match='full_banks=True needs a memory bank, but'):
        run(overhead, path, tmp_path, '--repeats', '1', '--no-memory')


def test_memory_of_each_form(overhead, data, tmp_path, monkeypatch, capsys):
    """The three child processes, two of them run inside this one to be quick."""
    config = tiny_config(data, tmp_path)
    counts, original = [], overhead.BareStep.__call__
    monkeypatch.setattr(
        overhead.BareStep,
        '__call__',
        lambda self: [counts.append(len(self.calls)), original(self)],
    )

    def child(command):
        if command[-1] == 'bare':
            return in_process(command)
        capsys.readouterr()
        overhead.main(command[command.index(overhead.__file__) + 1 :])
        return capsys.readouterr().out.splitlines()[-1]

    in_process = overhead.last_line
    monkeypatch.setattr(overhead, 'last_line', child)
    result = run(overhead, config, tmp_path, '--repeats', '1', '--warmup', '1')
    memory = result['memory']
    assert list(memory) == ['idle', 'bare', 'full']
    assert all(peak > 50 for peak in memory.values())
    printed = capsys.readouterr().out
    assert f'| full             | {memory["full"]:8.0f} |' in printed
    assert counts == [3, 3, 3]  # warm-up, measured, profiled: none in those children


def test_other_loops_are_refused(overhead, data, tmp_path):
    settings = {'train_cfg.type': 'IterBasedTrainLoop'}
    config = tiny_config(data, tmp_path, **settings)
    with pytest.raises(ValueError, match='SemiTrainLoop, but it is IterBasedTrainLoop'):
        overhead.main([config])


@pytest.mark.parametrize(
    ('tool', 'options', 'message'),
    [
        ('step_overhead', ['--repeats', '0'], '--repeats and --warmup'),
        ('data_pipeline', ['--workers', '-1'], '--workers at least 0'),
    ],
)
def test_bad_options(load_tool, capsys, tool, options, message):
    with pytest.raises(SystemExit):
        load_tool(f'benchmark/{tool}').parse_args(['x.py', *options])
    assert message in capsys.readouterr().err


def test_generated_data(pipeline):
    options = {
        'synthetic.counts': dict(labeled=2, unlabeled=3, val=0),
        'synthetic.size': 64,
    }
    with pipeline.benchmark_config(str(ROOT / CONFIG), options) as cfg:
        datasets = [loader.dataset for loader in cfg.train_dataloader.values()]
        roots = {Path(dataset.data_root) for dataset in datasets}
        assert roots == {Path(cfg.work_dir) / 'data'}
        images = list(Path(cfg.work_dir).rglob('JPEGImages/*.png'))
        assert len(images) == 5
        assert Image.open(images[0]).size == (64, 64)
    assert not Path(cfg.work_dir).exists()


def test_views_per_second(pipeline, data, tmp_path, capsys):
    config = tiny_config(data, tmp_path)
    options = ['--workers', '0', '1', '--repeats', '2', '--batches', '2']
    streams = run(pipeline, config, tmp_path, *options)['streams']
    keys = [(s['stream'], s['workers'], s['views'], s['size']) for s in streams]
    assert keys == [
        (name, workers, count, [32, 32])
        for workers in (0, 1)
        for name, count in (('labeled', 1), ('unlabeled', 2))
    ]
    for found, batch_size in zip(streams, [2, 3, 2, 3], strict=True):
        seconds = {k: statistics.median(v) for k, v in found['seconds'].items()}
        assert [len(v) for v in found['seconds'].values()] == [2, 2]
        images = batch_size * found['views']
        assert found['views_per_second'] == pytest.approx(images / seconds['pipeline'])
        assert found['plain_per_second'] == pytest.approx(batch_size / seconds['plain'])
        ratio = (seconds['pipeline'] / images) / (seconds['plain'] / batch_size)
        assert found['ratio'] == pytest.approx(ratio)
    printed = capsys.readouterr().out
    assert printed.count('| unlabeled |') == 2


def test_plain_crops(pipeline, tmp_path):
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    Image.fromarray(pixels).save(tmp_path / 'image.png')
    Image.fromarray(pixels[..., 0]).save(tmp_path / 'mask.png')
    files = [(str(tmp_path / 'image.png'), str(tmp_path / 'mask.png'))]
    crops = pipeline.PlainCrops(files, (4, 4))
    random.seed(0)
    starts = set()
    for _ in range(50):
        image, mask = crops[0]
        assert image.shape == (4, 4, 3) and mask.shape == (4, 4)
        assert torch.equal(image[..., 0], mask)
        top, left = divmod(int(mask[0, 0]) // 3, 8)
        assert np.array_equal(image, pixels[top : top + 4, left : left + 4])
        starts.add((top, left))
    assert {top for top, _ in starts} == {0, 1, 2}
    assert {left for _, left in starts} == {0, 1, 2, 3, 4}
    whole = pipeline.PlainCrops([(files[0][0], None)], (9, 9))[0]
    assert len(whole) == 1 and whole[0].shape == (6, 8, 3)


def test_batches_ahead_are_not_timed(pipeline, monkeypatch):
    drawn = []
    loader = SimpleNamespace(num_workers=2, prefetch_factor=3)
    clock = iter([10.0, 14.0])

    class Loader(SimpleNamespace):
        def __iter__(self):
            for number in range(100):
                drawn.append(number)
                yield number

    monkeypatch.setattr(pipeline.time, 'perf_counter', lambda: next(clock))
    loader = Loader(**vars(loader))
    assert pipeline.seconds_a_batch(loader, 4) == 1.0
    assert len(drawn) == 1 + 2 * 3 + 4


@pytest.mark.parametrize(
    ('page', 'number'), [('benchmarks', 11), ('benchmark_contrast', 4)]
)
def test_documented_commands(load_tool, page, number):
    text = (ROOT / 'docs' / f'{page}.md').read_text().replace('\\\n', ' ')
    start = 'python tools/benchmark/'
    lines = [line.strip() for line in text.splitlines()]
    commands = [line.split() for line in lines if line.startswith(start)]
    assert len(commands) == number
    for _, tool, *words in commands:
        args = load_tool(f'benchmark/{Path(tool).stem}').parse_args(words)
        assert (ROOT / tool).is_file()
        assert (ROOT / (getattr(args, 'config', None) or '')).exists()


def test_precisions_and_layouts(overhead, data, tmp_path, capsys):
    config = tiny_config(data, tmp_path)
    options = ['--formats', '--repeats', '3', '--warmup', '1']
    result = run(overhead, config, tmp_path, *options)
    formats = ['fp32', 'fp32, channels_last', 'bf16', 'bf16, channels_last']
    for kind in ('wall', 'cpu'):
        assert list(result[kind]) == formats
        assert {len(seconds) for seconds in result[kind].values()} == {3}
    medians = {k: statistics.median(v) for k, v in result['wall'].items()}
    expected = {k: v / medians['fp32'] for k, v in medians.items()}
    assert result['ratios'] == pytest.approx(expected)
    assert 'medians of 3 steps of each, in turn' in capsys.readouterr().out


def test_each_format_is_trained_in(overhead, data, tmp_path, monkeypatch):
    """Also where the config has another one."""
    found, original = [], formats.run_steps

    def recorded(cfg, make_step):
        def make(runner):
            weight = runner.model.student.backbone.stem[0].weight
            last = weight.is_contiguous(memory_format=torch.channels_last)
            found.append((runner.cfg.optim_wrapper.type, runner.channels_last, last))
            return make_step(runner)

        return original(cfg, make)

    monkeypatch.setattr(formats, 'run_steps', recorded)
    wrapper = dict(type='AmpOptimWrapper', loss_scale='dynamic')
    config = tiny_config(data, tmp_path, channels_last=True, optim_wrapper=wrapper)
    run(overhead, config, tmp_path, '--formats', '--repeats', '1', '--warmup', '1')
    wrappers = ['OptimWrapper'] * 2 + ['Bf16OptimWrapper'] * 2
    assert found == [
        (w, x, x) for w, x in zip(wrappers, [False, True] * 2, strict=True)
    ]
