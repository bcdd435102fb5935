"""Train, resume, test and export every method with the packages that are installed.

The tools run as on a command line, each in a process of its own (which begins with
MMSegmentation imported, to save time), on a small generated data set. The table at the
end says which steps did what they should:

train     4 iterations with validation, checkpoints after 2 and 4
resume    from the checkpoint of iteration 2: the weights of iteration 4 are the same
          bit for bit
test      the last checkpoint gives a finite mIoU
export    one network as a plain model; MMSegmentation loads it and predicts without
          mmsemiseg, and its own test tool gives a finite mIoU
mmseg     MMSegmentation's own tools/train.py trains the same config

Writes below --folder, the output of each step as <method>/<step>.txt. The exit status
is 1 if a step failed. RC2L needs mmdet and the compiled operators of mmcv: where they
are missing it is left out, and a line says so.
"""

import argparse
import importlib
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path

import mmseg.apis
import torch
from prettytable import PrettyTable

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ('torch', 'numpy', 'setuptools')
FAMILIES = {  # the original package and its continuation
    'mmengine': 'onedl-mmengine',
    'mmcv': 'onedl-mmcv',
    'mmsegmentation': 'onedl-mmsegmentation',
    'mmdet': 'onedl-mmdetection',
}
STEPS = ('train', 'resume', 'test', 'export', 'mmseg')
NET = 'deeplabv3plus-r18-w16_quickstart'
SHORT = """
train_cfg = dict(max_iters=4, val_interval=2)
train_dataloader = dict(labeled=dict(batch_size=2){unlabeled})
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=2, max_keep_ckpts=-1))
"""
UNLABELED = ', unlabeled=dict(batch_size=2)'
CONFIGS = {  # the config that a method's begins with, and what it adds
    'SupOnly': (f'baselines/sup-only_{NET}', ''),
    'MeanTeacher': (f'baselines/mean-teacher_cutmix_{NET}', UNLABELED),
    'FixMatch': (f'baselines/mean-teacher_cutmix_{NET}', UNLABELED),
    'self-training': (f'baselines/sup-only_{NET}', ''),
    'CAC': (f'cac/cac_{NET}', UNLABELED),
    'CMB': (f'cmb/cmb_{NET}', UNLABELED),
    'CTT': (f'ctt/ctt_{NET}', UNLABELED),
    'ESL': (f'esl/esl_{NET}', UNLABELED),
    'RC2L': ('rc2l/rc2l_maskformer-r18-w16_quickstart', UNLABELED),
}
OF_MMDET = ('RC2L',)
SETTINGS = {
    'FixMatch': """
model = dict(type='FixMatch')
custom_hooks = []
default_hooks['checkpoint']['save_best'] = 'student/mIoU'
""",
    'self-training': """
runner_type = 'SelfTrainingRunner'
self_training = dict(
    unlabeled={{_base_.unlabeled.dataset}}, batch_size=2, num_workers=0, threshold=None)
""",
    'CAC': 'model = dict(contrast=dict(start=1, num_negatives=100))',
    'CMB': """
model = dict(mix_start=1, contrast=dict(start=1, candidates=dict(start=0)))
""",
    'RC2L': 'model = dict(ramp_up=None)',
}


class StepError(Exception):
    """A step did not do what it should; the text says what."""


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--methods', nargs='+', choices=CONFIGS, metavar='NAME', help='[all]'
    )
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=list(STEPS))
    parser.add_argument('--folder', type=Path, help='[a new temporary one]')
    return parser.parse_args(argv)


# What is installed


def possible_methods():
    """All methods but those whose packages are missing."""
    try:
        importlib.import_module('mmdet.models')
    except ImportError as error:
        print(f'{", ".join(OF_MMDET)} left out: mmdet cannot be imported ({error})')
        return [method for method in CONFIGS if method not in OF_MMDET]
    return list(CONFIGS)


def installed():
    """Lines of "package version"; those of the OpenMMLab packages that are there."""
    lines = [f'Python {sys.version.split()[0]}']
    for name in (*PACKAGES, *FAMILIES, *FAMILIES.values()):
        try:
            lines.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            continue
    return lines


def commit():
    """Of the sources, '-dirty' behind it where files differ from it."""
    command = ('git', 'describe', '--always', '--dirty', '--exclude=*')
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or 'unknown'


# Steps


class Runs:
    """The steps of one method, in `folder/<method>`."""

    def __init__(self, folder, method):
        self.cwd, self.folder = folder, folder / method
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.method = method
        self.config = self.folder / 'method.py'
        self.config.write_text(config_of(method))
        stage = 'student' if method == 'self-training' else ''
        self.run, self.resumed = self.folder / 'run', self.folder / 'resumed'
        self.last = self.run / stage / 'iter_4.pth'
        self.last_resumed = self.resumed / stage / 'iter_4.pth'

    def call(self, step, target, *arguments):
        """What a tool, or a function, prints, which is also added to <step>.txt."""
        log = self.folder / f'{step}.txt'
        before = log.stat().st_size if log.exists() else 0
        process = get_context('fork').Process(
            target=run_apart, args=(target, arguments, self.cwd, log)
        )
        process.start()
        process.join()
        printed = log.read_bytes()[before:].decode(errors='replace')
        if process.exitcode:
            lines = [line for line in printed.splitlines() if line.strip()]
            errors = [line for line in lines if 'Error: ' in line]
            raise StepError((errors or lines or [f'exit {process.exitcode}'])[-1])
        return printed

    def train(self):
        tool = ROOT / 'tools' / 'train.py'
        self.call('train', tool, self.config, '--work-dir', self.run)
        if not self.last.is_file():
            raise StepError(f'{self.last.name} was not written')

    def resume(self):
        """Go on in a copy of the run from which the last checkpoint was taken."""
        shutil.copytree(self.run, self.resumed)
        self.last_resumed.unlink()
        first = self.last_resumed.with_name('iter_2.pth')
        self.last_resumed.with_name('last_checkpoint').write_text(str(first))
        tool = ROOT / 'tools' / 'train.py'
        options = ('--work-dir', self.resumed, '--resume')
        if 'resuming from' not in self.call('resume', tool, self.config, *options):
            raise StepError('the run was not resumed')
        self.call('resume', require_same_weights, self.last, self.last_resumed)

    def test(self):
        tool = ROOT / 'tools' / 'test.py'
        options = ('--checkpoint', self.last, '--work-dir', self.folder / 'test')
        require_score(self.call('test', tool, self.config, *options))

    def export(self):
        network = 'teacher0' if self.method == 'CTT' else 'student'
        full, small = self.folder / 'export', self.folder / 'export' / 'inference'
        tool = (ROOT / 'tools' / 'export.py', self.config, self.last)
        options = ('--network', network, '--out')
        self.call('export', *tool, *options, full)
        self.call('export', *tool, '--inference-only', *options, small)
        image = next(self.cwd.glob('data/quickstart/JPEGImages/*'))
        names = (f'{network}.py', f'{network}.pth')
        self.call('export', predict_without_us, *(small / n for n in names), image)
        files = [full / name for name in names]
        options = ('--work-dir', full / 'test')
        require_score(self.call('export', mmseg_tool('test'), *files, *options))

    def mmseg(self):
        options = ('--work-dir', self.folder / 'mmseg')
        self.call('mmseg', mmseg_tool('train'), self.config, *options)


def run_apart(target, arguments, cwd, log):
    """Call a function, or run a script as the command line does; output to `log`."""
    sys.stdout = sys.stderr = open(log, 'a', buffering=1)  # noqa: SIM115, to the end
    for number in (1, 2):  # for what does not write through Python
        os.dup2(sys.stdout.fileno(), number)
    os.chdir(cwd)
    sys.path.insert(0, str(ROOT))
    if callable(target):
        target(*arguments)
    else:
        sys.argv = [str(target), *map(str, arguments)]
        runpy.run_path(str(target), run_name='__main__')


def predict_without_us(config, weights, image):
    from mmseg.apis import inference_model, init_model

    model = init_model(str(config), str(weights), device='cpu')
    shape = tuple(inference_model(model, str(image)).pred_sem_seg.data.shape)
    if shape != (1, 96, 96):
        raise StepError(f'the prediction has the shape {shape}')
    if 'mmsemiseg' in sys.modules:
        raise StepError('the exported config imports mmsemiseg')


def require_same_weights(*paths):
    one, other = (torch.load(p, weights_only=True)['state_dict'] for p in paths)
    differing = [key for key in one if not torch.equal(one[key], other[key])]
    if one.keys() != other.keys() or differing:
        raise StepError(f'other weights after the resume: {differing[:3]}')


def config_of(method):
    base, unlabeled = CONFIGS[method]
    base = ROOT / 'configs' / f'{base}.py'
    text = f'_base_ = {str(base)!r}\n' + SHORT.format(unlabeled=unlabeled)
    return text + SETTINGS.get(method, '') + '\n'


def mmseg_tool(name):
    """A tool of the installed MMSegmentation."""
    path = Path(mmseg.__file__).parent / '.mim' / 'tools' / f'{name}.py'
    if not path.is_file():
        raise StepError(f'MMSegmentation was installed without {path}')
    return path


def require_score(output):
    found = re.findall(r'mIoU: (\S+)', output)
    if not found or not math.isfinite(float(found[-1])):
        raise StepError(f'mIoU is {found[-1] if found else "missing"}')


def write_data(folder):
    counts = ('--labeled', '4', '--unlabeled', '6', '--val', '3')
    command = ('make_synthetic.py', '--out', 'data/quickstart', *counts)
    env = dict(os.environ, PYTHONPATH=str(ROOT))
    subprocess.run(
        (sys.executable, ROOT / 'tools' / command[0], *command[1:]),
        cwd=folder,
        env=env,
        check=True,
    )


def main(argv=None):
    args = parse_args(argv)
    folder = args.folder or Path(tempfile.mkdtemp(prefix='method_runs_'))
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(f'mmsemiseg {commit()}', *installed(), sep='\n', flush=True)
    write_data(folder)
    table, failed = PrettyTable(['method', *args.steps]), []
    for method in args.methods or possible_methods():
        runs, cells = Runs(folder, method), []
        for step in args.steps:
            start = time.monotonic()
            try:
                getattr(runs, step)()
            except (StepError, OSError) as error:
                failed.append(f'{method}, {step}: {error}')
                cells.append('FAILED')
            else:
                cells.append('passed')
            seconds = time.monotonic() - start
            print(f'{method}, {step}: {cells[-1]} ({seconds:.0f} s)', flush=True)
        table.add_row([method, *cells])
    print(table, *failed, f'output of each step: {folder}', sep='\n')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
