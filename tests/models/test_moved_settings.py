"""Old settings of a method are errors that say where they are now."""

import inspect

import pytest
from mmseg.registry import MODELS

import mmsemiseg  # noqa: F401
from mmsemiseg.models.moved_settings import MOVED, moved_to

TYPES = dict(bank='StepQueue', projector='ProjectionHead')  # of a default None


@pytest.mark.parametrize(
    ('method', 'name', 'place'),
    [
        ('CAC', 'unsup_weight', 'contrast.weight'),
        ('CACWeak', 'weak_ramp', 'weak.ramp_up'),
        ('FixMatch', 'unsup_weight', 'pseudo_loss.weight'),
        ('CPS', 'bank_ready', 'contrast.ready'),
        ('CMB', 'rank_selector', 'contrast.candidates.rank_by'),
    ],
)
def test_the_error_names_the_new_place(method, name, place):
    message = f"^model has no setting '{name}', which is now model.{place}: {method} "
    with pytest.raises(ValueError, match=message):
        MODELS.build({'type': method, 'student': {}, name: 1})


def test_a_name_that_never_was_one_is_not_moved():
    assert moved_to(MODELS.get('CAC'), 'unsup_wieght') is None


@pytest.mark.parametrize('method', MOVED)
def test_no_setting_of_today_is_called_moved(method):
    parameters = inspect.signature(MODELS.get(method).__init__).parameters
    assert not set(MOVED[method]) & set(parameters)


@pytest.mark.parametrize(
    ('method', 'name'), [(m, name) for m, names in MOVED.items() for name in names]
)
def test_each_new_place_exists(method, name):
    """In the classes of the default settings, where there are any."""
    *path, last = MOVED[method][name].partition('=')[0].split('.')
    cls = MODELS.get('CACWeak' if name.startswith('weak_') else method)
    for setting in path:
        default = inspect.signature(cls.__init__).parameters[setting].default
        cls = MODELS.get(default['type'] if default else TYPES[setting])
    assert last in inspect.signature(cls.__init__).parameters
