import platform
import subprocess
import sys

import pytest

CODE = """
import resource
import sys
import torch
from mmsemiseg.utils.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

taken = keep_freed_memory() if sys.argv[1] == 'keep' else None
faults()
print(taken, faults())
"""


def run(mode):
    command = [sys.executable, '-c', CODE, mode]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output.split()[-2:]


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='a setting of glibc')
def test_freed_memory_is_used_again():
    taken, kept = run('keep')
    assert taken == 'True'
    taken, freed = run('free')
    assert taken == 'None'
    # 10 x 64 MiB are 163 840 pages of 4 KiB, or 320 huge ones
    assert int(kept) < int(freed) / 10
