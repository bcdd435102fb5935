"""The config that belongs to a checkpoint."""

from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config
from mmengine.utils import import_modules_from_strings

from ..utils.launch import read_config
from .config_text import foreign_types, parse_config_text


def checkpoint_config(
    path: str | Path, content: Mapping, config: str | None = None
) -> tuple[Config, str]:
    """The config of a checkpoint, and where it was found.

    In this order: the named file; the text in the checkpoint, which is read as plain
    values and never run; a file of the same name beside the checkpoint, as
    ``tools/export.py`` writes it; ``config.py`` beside it.

    Args:
        path: Path of the checkpoint.
        content: Content of the checkpoint.
        config: Path of the config; None looks for it.

    Raises:
        ValueError: There is none, or the one that was found cannot be used.
    """
    if config is not None:
        return read_config(config), str(config)
    text = (content.get('meta') or {}).get('cfg')
    reason = 'the checkpoint holds none'
    if isinstance(text, str) and text.strip():
        try:
            return _from_text(text), 'the checkpoint'
        except (ValueError, ImportError) as error:
            reason = f'that in the checkpoint cannot be read: {error}'
    beside = [Path(path).with_suffix('.py'), Path(path).parent / 'config.py']
    for file in beside:
        if file.is_file():
            return read_config(file), str(file)
    raise ValueError(
        f'{path}: there is no config of it ({reason}; there is no '
        f'{" and no ".join(map(str, beside))}). Name it by --config'
    )


def _from_text(text: str) -> Config:
    cfg = parse_config_text(text)
    imports = cfg.get('custom_imports')
    if imports:
        import_modules_from_strings(**imports)
    foreign = foreign_types([cfg.get('model'), cfg.get('test_dataloader')])
    if foreign:
        raise ValueError(f'its types {foreign} are in no registry')
    return Config(cfg)
