import pytest

from mmsemiseg.doctor import environment
from mmsemiseg.doctor.environment import (
    Machine,
    describe,
    environment_findings,
    look_at_machine,
)

FREE = Machine('cpu', 4, 4, 0.1, 2**33, None, 2**35, False)


def test_a_machine_is_described(tmp_path):
    machine = look_at_machine(str(tmp_path / 'not/yet/there'))
    assert machine.cores >= 1 and machine.disk > 0
    rows = describe(machine)
    assert 'torch' in rows['packages'] and 'mmcv' in rows['packages']
    assert 'threads' in rows['cores'] and 'free for the work' in rows['disk']
    unknown = describe(machine._replace(busy=None, memory=None, gpu_memory=None))
    assert unknown['memory'] == 'not known' and 'others' not in unknown['cores']


@pytest.mark.parametrize(
    ('machine', 'text'),
    [
        (FREE._replace(busy=2.0), 'keep 2.0 of 4 cores busy'),
        (FREE._replace(threads=1), 'PyTorch takes 1 of 4 cores'),
        (FREE._replace(threads=1, busy=2.0), 'keep 2.0 of 4 cores busy'),
    ],
)
def test_load_and_threads(machine, text):
    (finding,) = environment_findings(machine)
    assert text in finding.text


@pytest.mark.parametrize(
    ('installed', 'text'),
    [
        (dict(mmcv=['onedl-mmcv 2', 'mmcv 2']), 'mmcv is installed twice'),
        (dict(mmcv=['mmcv 2'], mmseg=['onedl-mmsegmentation 1']), 'are mixed'),
    ],
)
def test_packages_that_do_not_go_together(installed, text, monkeypatch):
    found = lambda name: installed.get(name, [])  # noqa: E731
    monkeypatch.setattr(environment, 'distributions', found)
    (finding,) = environment_findings(FREE)
    assert finding.level == 'warning' and text in finding.text
    assert 'no mmdet' in describe(FREE)['packages']
