import pytest


@pytest.fixture(autouse=True, scope='session')
def plain_config_dumps():
    """Configs are written without yapf, which takes longer than a tiny run."""
    with pytest.MonkeyPatch.context() as patch:
        for place in ('yapf.yapflib.yapf_api', 'mmengine.config.config'):
            patch.setattr(f'{place}.FormatCode', as_it_is, raising=False)
        yield


def as_it_is(text, **style):
    return text, False
