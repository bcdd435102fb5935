"""The process of a benchmark: its device, its peak memory, its child processes."""

import subprocess
import sys
from pathlib import Path

import mmengine.device.utils
import torch

try:
    import resource
except ImportError:  # Windows
    resource = None


def use_device(device: str | None, threads: int | None) -> str:
    """Choose what mmengine's runner takes; returns the device."""
    if device == 'cuda' and not torch.cuda.is_available():
        raise ValueError('--device cuda: PyTorch sees no GPU')
    if device is not None:
        mmengine.device.utils.DEVICE = device
    if threads is not None:
        torch.set_num_threads(threads)
    return mmengine.device.utils.DEVICE


def sync() -> None:
    if mmengine.device.utils.DEVICE == 'cuda':
        torch.cuda.synchronize()


def system_use() -> dict[str, float]:
    """Page faults and seconds, in the system and outside, of this process."""
    if resource is None:
        return {}
    use = resource.getrusage(resource.RUSAGE_SELF)
    return dict(faults=use.ru_minflt, system=use.ru_stime, user=use.ru_utime)


def peak_memory() -> float:
    """MiB of this process so far: of tensors on CUDA, else resident."""
    if mmengine.device.utils.DEVICE == 'cuda':
        return torch.cuda.max_memory_allocated() / 2**20
    # getrusage() would also count the parent process: its peak outlives the exec
    status = Path('/proc/self/status')
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if 'VmHWM' in x)
        return int(line.split()[1]) / 2**10
    from ..engine.hooks.run_monitor import peak_memory_mb

    return peak_memory_mb(torch.device('cpu'))


def forget_peak() -> None:
    """Let the peak start again, so that what the imports took does not hide any."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    reset = Path('/proc/self/clear_refs')
    if reset.exists():
        reset.write_text('5')


def child_command(file: str, args) -> list[str]:
    """To run this tool again on the same device, with as many threads."""
    command = [sys.executable, '-W', 'ignore', file]
    for name in ('device', 'threads'):
        if getattr(args, name) is not None:
            command += [f'--{name}', str(getattr(args, name))]
    return command


def last_line(command: list[str]) -> str:
    """What a child process prints last; its errors go to the screen."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f'a child process failed: {" ".join(command)}')
    return done.stdout.splitlines()[-1]
