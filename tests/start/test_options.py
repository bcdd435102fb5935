import pytest

from mmsemiseg.start.options import Options, config_path, duration, work_dir


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(hours=0), '--hours must be above 0, but got 0'),
        (dict(scale=-1), '--scale must be above 0'),
        (dict(batch=1), '--batch must be at least 2'),
        (dict(crop=(16, 64)), '--crop must be at least 32'),
        (dict(val_share=1.0), '--val-share must be above 0 and below 1'),
        (dict(method='Best'), "--method must be one of MeanTeacher.*'Best'"),
        (dict(pretrained='a.pth'), 'give --student, too'),
        (
            dict(pretrained='a.pth', student='s.py', from_scratch=True),
            'exclude each other',
        ),
    ],
)
def test_settings_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        Options(images='x', **settings)


def test_paths():
    baseline, method = Options(method='FixMatch').methods
    assert config_path('out', baseline) == 'out/configs/sup-only.py'
    assert work_dir('out', method) == 'out/fix-match'


def test_durations():
    assert [duration(s) for s in (3.4, 600, 7300)] == ['3 s', '10 min', '2 h 2 min']


def test_lists_are_tuples_and_the_same_options():
    given = Options(images='x', unlabeled=[], val=['a', 'b'], crop=[64, 96])
    assert given == Options(images='x', val=('a', 'b'), crop=(64, 96))
    words = ['--images', 'x', '--val', 'a', 'b', '--crop', '64', '96']
    assert given.words() == words
