from pathlib import Path

import pytest
from saved_model import run_config
from tiny_run import sup_only

from mmsemiseg.apis import checkpoint_config


def content(text):
    return dict(meta=dict(cfg=text))


@pytest.fixture
def cfg():
    return run_config(sup_only())


def test_order(tmp_path, cfg):
    path = tmp_path / 'iter_1.pth'
    text = cfg.pretty_text
    with pytest.raises(ValueError, match='holds none.*iter_1.py.*config.py.*--config'):
        checkpoint_config(path, {})
    for name in ('config', 'iter_1', 'mine'):
        (tmp_path / f'{name}.py').write_text(f'{text}\nfrom_file = {name!r}')
        named = tmp_path / 'mine.py' if name == 'mine' else None
        found, origin = checkpoint_config(path, {}, named)
        assert found.from_file == name
        assert Path(origin) == tmp_path / f'{name}.py'
    found, origin = checkpoint_config(path, content(text))
    assert origin == 'the checkpoint'
    assert found.to_dict() == cfg.to_dict()


@pytest.mark.parametrize('text', ['import os', 'a = f()', "model = dict(type='os.x')"])
def test_a_config_that_runs_code_is_not_read(tmp_path, text):
    path = tmp_path / 'iter_1.pth'
    with pytest.raises(ValueError, match='in the checkpoint cannot be read'):
        checkpoint_config(path, content(text))
    (tmp_path / 'config.py').write_text("from_file = 'config'")
    assert checkpoint_config(path, content(text))[0].from_file == 'config'


def test_modules_of_a_user_are_imported(tmp_path, cfg):
    cfg.custom_imports = dict(imports=['no_such_module'])
    with pytest.raises(ValueError, match='no_such_module'):
        checkpoint_config(tmp_path / 'a.pth', content(cfg.pretty_text))
