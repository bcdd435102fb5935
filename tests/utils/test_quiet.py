import ast
import io
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from tiny_run import config, mean_teacher, train, write_data

from mmsemiseg.utils.quiet import (
    LAYER_PRINTS,
    WARNINGS,
    quiet_console,
    quiet_imports,
    without_prints,
)

ROOT = Path(__file__).resolve().parents[2]


def logged(name, level='INFO', file=None):
    """A logger as the runner has it, and what is on its console."""
    logger = MMLogger.get_instance(f'test_quiet_{name}', log_level=level, log_file=file)
    console = io.StringIO()
    logger.handlers[0].setStream(console)
    quiet_console(logger)
    return logger, console


def test_known_prints_of_imports_and_no_others(capsys):
    with quiet_imports():
        print('Could not import OneDL')
        print('Could not import OneDL, but it is needed')
        sys.stdout.write('Line NMS is not compiled. Most ...\nThis model ...\n\n')
        print('a', 'b')
        print('\n', end='')
        held = sys.stdout
    assert sys.stdout is not held
    print('Could not import OneDL')
    held.write('of a logger\n')
    told = capsys.readouterr().out
    assert told == (
        'Could not import OneDL, but it is needed\na b\n\n'
        'Could not import OneDL\nof a logger\n'
    )


def test_layers_of_a_decay(capsys):
    with without_prints(LAYER_PRINTS):
        print('set param backbone.x as id 3')
        print('set param backbone.x as you like')
        print('Param groups = {\n}')
    assert capsys.readouterr().out == 'set param backbone.x as you like\n'


def test_the_stream_comes_back_after_an_error(capsys):
    before = sys.stdout
    with pytest.raises(ImportError), quiet_imports():
        raise ImportError
    assert sys.stdout is before


def test_known_warnings_of_their_modules_and_no_others():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        with quiet_imports():
            pass
        for message, module in WARNINGS:
            name = module.replace('\\', '') + '.part'
            for text, where in ((message + ' ...', name), ('other', name)):
                warnings.warn_explicit(text, UserWarning, 'f.py', 1, module=where)
            warnings.warn_explicit(message, UserWarning, 'f.py', 1, module='mine')
    told = [str(one.message) for one in seen]
    assert told == [text for message, _ in WARNINGS for text in ('other', message)]


def test_merged_predictions_of_tta_do_not_warn():
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        with quiet_imports():
            pass
        PixelData(data=torch.zeros(2, 3))
    assert [str(one.message) for one in seen] == []


class Frozen(torch.nn.Module):
    """Parameters by the names that a method's have."""

    def __init__(self):
        super().__init__()
        parts = dict(student=torch.nn.Linear(1, 1), teacher=torch.nn.Linear(1, 1))
        parts['teacher'].requires_grad_(False)
        parts['student'].bias.requires_grad_(False)
        self.pairs = torch.nn.ModuleList([torch.nn.ModuleDict(parts)])


def test_frozen_teachers_are_no_news_frozen_students_are():
    logger, console = logged('frozen')
    assert MMLogger.get_current_instance() is logger
    init_default_scope('mmseg')
    settings = dict(
        optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(bias_lr_mult=2)
    )
    build_optim_wrapper(Frozen(), settings)
    text = console.getvalue()
    assert 'pairs.0.student.bias is skipped since its requires_grad=False' in text
    assert 'teacher' not in text


def test_console_and_file(tmp_path):
    logger, console = logged('file', file=str(tmp_path / 'log'))
    known = [
        '\n---\nSystem environment:\n ...',
        'Config:\na = 1',
        'Hooks will be executed in the following order:\n ...',
        'results are saved to ',
        'The prefix is not set in metric class IoUMetric.',
        'paramwise_options -- pairs.0.student.x:lr=0.1',
    ]
    shown = ['Config: wrong', 'results are saved to out', 'pairs.0.teacher.x is 0']
    for text in known + shown:
        logger.warning(text)
    told = console.getvalue()
    assert [line.split(' - ')[-1] for line in told.splitlines()] == shown
    written = (tmp_path / 'log').read_text()
    assert [text for text in known + shown if text not in written] == []


def test_debug_hides_nothing_and_a_second_call_changes_nothing():
    logger, console = logged('debug', level='DEBUG')
    logger.info('Config:\na = 1')
    assert 'a = 1' in console.getvalue()
    logger, _ = logged('twice')
    quiet_console(logger)
    assert len(logger.handlers[0].filters) == 2  # and mmengine's own


@pytest.mark.parametrize('plain', [False, True])
def test_a_run_has_it_in_the_log_file_alone(plain, tmp_path, capsys):
    cfg = config(write_data(tmp_path / 'data'), tmp_path / 'run', mean_teacher())
    cfg.merge_from_dict(dict(train_cfg=dict(max_iters=1), env_cfg=dict(a_key=3)))
    cfg.custom_hooks = [dict(type='MeanTeacherHook')]
    cfg.optim_wrapper.paramwise_cfg = dict(bias_lr_mult=2)
    if plain:  # what the tools take for a config without runner_type
        cfg.runner_type = 'QuietRunner'
    runner = train(cfg)
    told = capsys.readouterr().out
    written = (Path(runner._log_dir) / f'{runner.timestamp}.log').read_text()
    names = ('System environment', 'SemiTrainLoop', 'after_train_iter:', '_grad=')
    for text in (*names, 'paramwise_options -- '):
        assert text in written and text not in told
    assert f'environment, config and hooks are in the log in {runner._log_dir}' in told
    assert ('did the unlabeled images help?' in told) != plain
    assert ('learning rates: ' in told) != plain
    assert logging.getLevelName(runner.logger.handlers[0].level) == 'INFO'


def test_importing_the_package_says_nothing():
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    command = [sys.executable, '-c', 'import mmsemiseg; print("done")']
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ('done\n', '')


@pytest.mark.parametrize(
    'path', sorted((ROOT / 'tools').rglob('*.py')), ids=lambda path: path.stem
)
def test_tools_import_the_package_before_parts_of_others(path):
    """What stands above `import mmsemiseg` in a file must not be what prints."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    modules = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    modules += [
        a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names
    ]
    loud = ('mmdet', 'mmseg.', 'mmcv.cnn', 'mmcv.ops')
    found = [name for name in modules if name.startswith(loud)]
    assert [name for name in found if name != 'mmseg.registry'] == []
