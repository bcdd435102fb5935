import sys

import pytest
import torch

from mmsemiseg.benchmark.process import last_line, use_device


def test_a_failing_child_is_an_error():
    with pytest.raises(RuntimeError, match='failed: .*absent'):
        last_line([sys.executable, '-c', 'import absent'])


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_no_gpu():
    with pytest.raises(ValueError, match='--device cuda'):
        use_device('cuda', None)
