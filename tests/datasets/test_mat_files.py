import numpy as np
import pytest
from scipy.io import savemat

from mmsemiseg.datasets.mat_files import read_mat


def test_reads_variables_without_axes_of_length_one(tmp_path):
    path = str(tmp_path / 'a.mat')
    names = np.array([['null', 'bag']], dtype=object)
    savemat(path, dict(newseg=np.ones((3, 4), np.uint8), names=names))
    found, segments = read_mat(path, 'names', 'newseg')
    assert list(found) == ['null', 'bag']
    assert segments.shape == (3, 4)


def test_errors_name_the_file(tmp_path):
    path = tmp_path / 'a.mat'
    with pytest.raises(FileNotFoundError, match=r'there is no file .*a\.mat'):
        read_mat(str(path), 'x')
    path.write_bytes(b'no matlab file' * 20)
    with pytest.raises(ValueError, match=r'a\.mat cannot be read as a MAT file'):
        read_mat(str(path), 'x')
    savemat(path, dict(y=1))
    with pytest.raises(ValueError, match=r'a\.mat has no variable x, but has y'):
        read_mat(str(path), 'x', 'y')
