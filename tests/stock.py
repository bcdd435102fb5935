"""MMSegmentation's own configs, as installed, on tiny images."""

import re
from pathlib import Path

import mmseg
import numpy as np
from mmengine.config import Config
from PIL import Image

from mmsemiseg.utils.pretrained import without_pretrained

ROOT = Path(__file__).resolve().parents[1]
MIM = Path(mmseg.__file__).parent / '.mim'
# Folder -> of each part of the data the names of an image and of its mask
DATA = {
    'ade/ADEChallengeData2016': [
        (f'images/{part}/{{}}.jpg', f'annotations/{part}/{{}}.png')
        for part in ('training', 'validation')
    ],
    'cityscapes': [
        (
            f'leftImg8bit/{part}/a/{{}}_leftImg8bit.png',
            f'gtFine/{part}/a/{{}}_gtFine_labelTrainIds.png',
        )
        for part in ('train', 'val')
    ],
}
SIZES = ('crop_size', 'img_size', 'scale', 'size', 'stride')


def recipe():
    """The config of README's 'In a config that you have'."""
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    mark = r'<!-- config: mm/my_semi.py -->\n```python\n(.*?)```'
    return re.search(mark, text, re.DOTALL)[1]


def write_data(root, size=(64, 128)):
    """Cityscapes and ADE20K as the stock configs name them, and unlabeled images."""
    rng = np.random.default_rng(0)
    data, count = Path(root, 'data'), 0
    for folder, parts in DATA.items():
        for part in parts:
            for _ in range(2):
                mask = np.kron(rng.integers(0, 19, (4, 4)), np.ones((16, 32)))
                for name, pixels in zip(part, (_image(mask, rng), mask), strict=True):
                    _save(data / folder / name.format(count), pixels)
                count += 1
    for number in range(2):
        _save(data / 'more' / f'{number}.jpg', rng.integers(0, 255, (*size, 3)))
    (data / 'list.txt').write_text('data/more/0.jpg\n')


def _image(mask, rng):
    return 10 * mask[..., None] + rng.integers(0, 60, (*mask.shape, 3))


def _save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def stock_config(name):
    """An installed config: images and windows an eighth, no weights to load."""
    (path,) = MIM.glob(f'configs/*/{name}.py')
    cfg = Config.fromfile(path)
    _shrink(cfg._cfg_dict)
    cfg.model = without_pretrained(cfg.model)
    return cfg


def _shrink(part):
    for key, value in part.items() if isinstance(part, dict) else enumerate(part):
        if isinstance(value, (dict, list)):
            _shrink(value)
        elif key in SIZES and isinstance(value, tuple) and min(value) >= 128:
            part[key] = tuple(size // 8 for size in value)
