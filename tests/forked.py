"""Processes forked from one that has imported everything and done nothing.

Importing PyTorch and MMSegmentation takes longer than a tiny run.
"""

import contextlib
import faulthandler
import gc
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
import traceback
from multiprocessing.connection import wait
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from mmengine.dist import get_rank

from mmsemiseg.engine.runner.processes import init_processes

# torch._dynamo: optimizers import it
PRELOADED = ['pytest', 'distributed_run', 'killed_run', 'torch._dynamo']
SECONDS = 400  # for all that two processes do together


def start(function, *arguments, report, **environment):
    """The process of a call; an error of it is written to the file ``report``."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(PRELOADED)
    here = Path(__file__).parent
    paths = [here, here.parent, *os.environ.get('PYTHONPATH', '').split(':')]
    paths = ':'.join(filter(None, map(str, paths)))
    with mock.patch.dict(os.environ, PYTHONPATH=paths):
        process = context.Process(
            target=_call, args=(function, arguments, str(report), environment)
        )
        process.start()
    return process


def _call(function, arguments, report, environment):
    os.environ.update(environment)
    gc.freeze()  # MMEngine collects for each data set: not what was imported
    torch.set_num_threads(1)
    np.random.seed()  # the state is that of the common parent otherwise
    Path(report).unlink(missing_ok=True)
    with (
        mock.patch('mmengine.config.config.FormatCode', as_it_is, create=True),
        mock.patch('yapf.yapflib.yapf_api.FormatCode', as_it_is),
        mock.patch('mmengine.runner.runner.collect_env', dict),
    ):
        try:
            function(*arguments)
        except BaseException as error:
            if isinstance(error, SystemExit) and not error.code:
                return
            Path(report).write_text(traceback.format_exc())
            raise


def as_it_is(text, **style):
    """In place of yapf, which takes longer than a tiny run."""
    return text, False


def end(process, seconds=120):
    """Exit code of a process, which is killed if it takes longer."""
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    code = process.exitcode
    process.close()
    return code


# What may be called


def run_tool(path, words, folder='.'):
    """A tool, as from the command line in a folder."""
    os.chdir(folder)
    sys.argv = [str(path), *map(str, words)]
    runpy.run_path(str(path), run_name='__main__')


def of_file(folder, path, name, *arguments):
    """A function of a file of tests, which cannot be imported."""
    return runpy.run_path(str(path))[name](folder, *arguments)


def output_of(code, *words):
    """What code prints that ends without an error and is not killed."""
    with tempfile.TemporaryDirectory() as folder:
        output, report = (Path(folder) / name for name in ('output', 'error'))
        output.touch()
        code = end(start(_run_code, code, words, output, report=report))
        told = [path.read_text() for path in (output, report) if path.exists()]
        assert code == 0, '\n'.join([str(code), *told])
        return told[0]


def _run_code(code, words, output):
    sys.argv = ['-c', *map(str, words)]
    with open(output, 'w') as file, contextlib.redirect_stdout(file):
        exec(code, {'__name__': '__main__'})


# Two processes that talk through gloo


def free_port():
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def surroundings():
    """Environment of a process that finds the others on this machine."""
    return dict(MASTER_ADDR='127.0.0.1', MASTER_PORT=free_port())


def distributed(cfg):
    """The config for a process of :func:`on_two_ranks`."""
    cfg.launcher = 'pytorch'
    return cfg


def on_two_ranks(function, folder, *arguments):
    """[``function(folder, *arguments)`` of rank 0, of rank 1]; both in ``folder``."""
    shared = dict(surroundings(), WORLD_SIZE='2')
    reports = [folder / f'error.{rank}' for rank in (0, 1)]
    processes = [
        start(
            _on_rank,
            function,
            folder,
            arguments,
            report=report,
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            **shared,
        )
        for rank, report in enumerate(reports)
    ]
    end_all(processes, reports)
    return [
        torch.load(folder / f'result.{rank}.pt', weights_only=False) for rank in (0, 1)
    ]


def _on_rank(function, folder, arguments):
    with open(folder / f'error.{os.environ["RANK"]}', 'w') as report:
        # A process that hangs shows its place
        faulthandler.dump_traceback_later(SECONDS - 50, exit=True, file=report)
        init_processes('pytorch', dict(timeout=200))  # seconds; then it is an error
        result = function(folder, *arguments)
        torch.save(result, folder / f'result.{get_rank()}.pt')
        faulthandler.cancel_dump_traceback_later()


def end_all(processes, reports):
    """Wait for processes that talk to each other; all must end without an error."""
    _wait_for_all(processes)
    codes = [end(process) for process in processes]
    texts = [report.read_text() for report in reports if report.exists()]
    assert not any(codes), '\n'.join([str(codes), *texts])


def _wait_for_all(processes):
    """Kill those that still run when the time is over, or 20 s after an error."""
    deadline = time.monotonic() + SECONDS
    while running := [p for p in processes if p.exitcode is None]:
        if any(process.exitcode for process in processes):
            deadline = min(deadline, time.monotonic() + 20)
        left = deadline - time.monotonic()
        if left <= 0 or not wait([p.sentinel for p in running], left):
            for process in running:
                process.kill()
            return
