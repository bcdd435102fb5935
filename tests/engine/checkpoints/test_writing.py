import errno
import json
import os
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_files import good
from forked import output_of

from mmsemiseg.engine.checkpoints import (
    atomic_write,
    read_checkpoint,
)


def test_atomic_write(tmp_path):
    path = tmp_path / 'new/folder/a.pth'
    with atomic_write(path) as part:
        assert part == f'{path}.part'
        Path(part).write_bytes(b'first')
        assert not path.exists()
    assert path.read_bytes() == b'first'
    with atomic_write(str(path)) as part:
        Path(part).write_bytes(b'second')
        assert path.read_bytes() == b'first'
    assert path.read_bytes() == b'second'
    assert os.listdir(path.parent) == ['a.pth']


@pytest.mark.skipif(not os.path.isdir('/proc/self/fd'), reason='needs /proc')
def test_content_is_on_disk_before_the_name(tmp_path, monkeypatch):
    """Or a power cut leaves an empty file under the name of a good one."""
    done = []
    sync, replace = os.fsync, os.replace

    def noted_sync(number):
        name = Path(os.readlink(f'/proc/self/fd/{number}')).name
        done.append(f'sync {name}')
        sync(number)

    def noted_replace(source, target):
        done.append('replace')
        replace(source, target)

    monkeypatch.setattr(os, 'fsync', noted_sync)
    monkeypatch.setattr(os, 'replace', noted_replace)
    with atomic_write(tmp_path / 'a.pth') as part:
        Path(part).write_bytes(b'new')
    assert done == ['sync a.pth.part', 'replace', f'sync {tmp_path.name}']


def test_atomic_write_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_write('a.pth') as part:
        torch.save(good(), part)
    assert read_checkpoint('a.pth')['meta']['iter'] == 1


@pytest.mark.parametrize(
    'error', [ValueError('x'), KeyboardInterrupt(), RuntimeError('x')]
)
def test_an_exception_keeps_the_old_file(error, tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    with pytest.raises(type(error)) as caught, atomic_write(path) as part:
        Path(part).write_bytes(b'ne')
        raise error
    assert caught.value is error
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['a.pth']


def test_an_exception_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match='x'), atomic_write(tmp_path / 'a.pth'):
        raise ValueError('x')
    assert os.listdir(tmp_path) == []


def test_a_failed_write_is_explained(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    with pytest.raises(OSError, match='No space left') as caught, atomic_write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.errno == errno.ENOSPC
    for word in (str(path), 'MiB are free', 'What was there before still is'):
        assert word in str(caught.value)
    assert path.read_bytes() == b'old'


def test_nothing_written_is_an_error(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_bytes(b'old')
    with (
        pytest.raises(OSError, match=r'a\.pth could not be written'),
        atomic_write(path),
    ):
        pass
    assert path.read_bytes() == b'old'


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match=r'a\.pth could not be written'):
        with atomic_write(tmp_path / 'file' / 'a.pth'):
            raise AssertionError('must not get here')


FULL_DISK = """
import io, json, os, resource, sys, torch
from mmengine.fileio import LocalBackend
from mmsemiseg.engine.checkpoints import atomic_write

folder, limit = sys.argv[1], int(sys.argv[2])
content = dict(w=torch.ones(20000))

def by_path(part):
    torch.save(content, part)

def by_file(part):
    with open(part, 'wb') as file:
        torch.save(content, file)

def by_backend(part):
    data = io.BytesIO()
    torch.save(content, data)
    LocalBackend().put(data.getvalue(), part)

result = {}
for write in (by_path, by_file, by_backend):
    path = os.path.join(folder, write.__name__ + '.pth')
    torch.save(dict(old=1), path)
    size = len(open(path, 'rb').read())
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with atomic_write(path) as part:
            write(part)
        result[write.__name__] = 'no error'
    except OSError as error:
        result[write.__name__] = str(error)
    except BaseException as error:
        result[write.__name__] = repr(error)
    infinity = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_FSIZE, infinity)
print(json.dumps(result))
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='no limit of file sizes')
@pytest.mark.parametrize('limit', [5000, 80100])
def test_write_that_really_fails(limit, tmp_path):
    """The limit of a file's size stops writing as a full disk does, also at its end."""
    output = output_of(FULL_DISK, tmp_path, limit)
    result = json.loads(output.strip().split('\n')[-1])
    assert list(result) == ['by_path', 'by_file', 'by_backend']
    for name, text in result.items():
        path = tmp_path / f'{name}.pth'
        assert f'{path} could not be written' in text
        assert 'What was there before still is' in text
        assert read_checkpoint(path) == dict(old=1)
    assert 'File too large' in result['by_file']
    assert 'File too large' in result['by_backend']
    assert sorted(os.listdir(tmp_path)) == sorted(f'{name}.pth' for name in result)
