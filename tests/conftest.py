import gc
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope

HERE = Path(__file__).parent
# Files and folders of runs, of several processes, of tools: `make test-fast` skips them
SLOW = (
    'benchmark',
    'configs',
    'deploy/test_graphs.py',
    'engine',
    'models/segmentors/test_cac_runs.py',
    'models/segmentors/test_cmb_runs.py',
    'models/segmentors/test_ctt_runs.py',
    'models/segmentors/test_esl_runs.py',
    'models/segmentors/test_mask_students.py',
    'models/segmentors/test_rc2l_runs.py',
    'models/segmentors/test_zoo.py',
    'packaging',
    'test_docs.py',
    'test_no_sync.py',
    'test_plain_crops.py',
    'test_stock_configs.py',
    'tools',
    'utils/test_quiet.py',
    'utils/test_tta.py',
)


def pytest_collection_modifyitems(items):
    places = [HERE / name for name in SLOW]
    for item in items:
        if any(place in (item.path, *item.path.parents) for place in places):
            item.add_marker('slow')


@pytest.fixture(autouse=True, scope='session')
def default_scope():
    """Types of mmseg are found, whatever test a process begins with."""
    init_default_scope('mmseg')


@pytest.fixture(autouse=True, scope='module')
def quick_garbage_collection():
    """What was there before a file of tests is not looked at.

    MMEngine collects for each data set, which takes longer than a tiny run.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope='session')
def plain_config_dumps():
    """Configs are written without yapf, which takes longer than a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):
            patch.setattr(f'{place}.FormatCode', as_it_is, raising=False)
        yield


def as_it_is(text, **style):
    return text, False


@pytest.fixture
def at(monkeypatch):
    """Sets the iteration that methods read."""
    from mmsemiseg.models import SemiSegmentor

    def set_iteration(value):
        monkeypatch.setattr(SemiSegmentor, 'iteration', property(lambda self: value))

    return set_iteration


@pytest.fixture(params=['masked', 'compact'])
def device(request, monkeypatch):
    """Rows of no class are masked, as on a GPU, or left out, as on a CPU."""
    from mmsemiseg.functional import compact

    devices = ('cpu',) if request.param == 'compact' else ()
    monkeypatch.setattr(compact, 'DEVICES', devices)
