import platform
import subprocess
import sys

import pytest

from mmsemiseg.utils import memory

CODE = """
import resource
import runpy
import sys
import torch

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

# The file alone: importing the package takes longer
keep_freed_memory = runpy.run_path(sys.argv[2])['keep_freed_memory']
taken = keep_freed_memory() if sys.argv[1] == 'keep' else None
faults()
print(taken, faults())
"""


def run(mode):
    command = [sys.executable, '-c', CODE, mode, memory.__file__]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output.split()[-2:]


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
def test_freed_memory_is_used_again():
    taken, kept = run('keep')
    assert taken == 'True'
    taken, freed = run('free')
    assert taken == 'None'
    # 10 x 64 MiB are 163 840 pages of 4 KiB, or 320 huge ones
    assert int(kept) < int(freed) / 10


def test_available_memory_is_the_least_that_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, 'PROC', tmp_path / 'proc')
    monkeypatch.setattr(memory, 'GROUP', tmp_path / 'group')
    assert memory.available_memory() is None
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/meminfo').write_text('MemTotal: 9 kB\nMemAvailable: 8 kB\n')
    assert memory.available_memory() == 8192
    (tmp_path / 'group').mkdir()
    (tmp_path / 'group/memory.max').write_text('max\n')
    (tmp_path / 'group/memory.current').write_text('6000\n')
    (tmp_path / 'group/memory.stat').write_text('anon 1\ninactive_file 2000\n')
    assert memory.available_memory() == 8192
    (tmp_path / 'group/memory.max').write_text('7000\n')
    assert memory.available_memory() == 3000
