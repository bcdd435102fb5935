"""Settings of a config beside the numbers and sizes of its data."""

from collections.abc import Mapping
from typing import Any

from ..datasets.checks import HELD_OUT, leaf_datasets
from ..engine.hooks.words import BFLOAT16, SLOW, filters_of
from ..utils.pretrained import find_pretrained, is_remote
from ..utils.tool_settings import find_pipeline
from .data import DataLook
from .environment import Machine
from .findings import Finding
from .image_sizes import highest_ratio, padded_share, padded_to, size_and_crop

ABOUT = 'settings'
FEW = 50  # validation images below which a score says little
MUCH = 0.25  # of a crop that is padding
TOO_SLOW = 5  # a teacher that averages over more than a fifth of the run


def setting_findings(
    cfg: Any, look: DataLook, model: Any, machine: Machine
) -> list[Finding]:
    """What in the settings does not fit the data, the model or the machine."""
    found = []
    for name in look.files:
        found += _crops(name, look)
        found += _padding(name, look)
        found += _palette(name, look)
    found += _batches(cfg, look)
    found += _validation(cfg, look)
    found += _workers(cfg, machine)
    if model is not None:
        found += _thresholds(model)
    found += _decays(cfg)
    found += _weights(cfg)
    found += _precision(cfg, machine)
    return found


def loaders_of(cfg: Any) -> dict[str, Mapping]:
    """Config of the dataloader of each training stream."""
    loaders = cfg.get('train_dataloader') or {}
    if 'dataset' in loaders:
        loaders = dict(labeled=loaders)
    return {name: part for name, part in loaders.items() if isinstance(part, Mapping)}


def loader_setting(cfg: Any, name: str) -> str:
    """The setting of the dataloader of a stream."""
    if name in HELD_OUT:
        return f'{name}_dataloader'
    named = 'dataset' not in (cfg.get('train_dataloader') or {})
    return f'train_dataloader.{name}' if named else 'train_dataloader'


def _crops(name: str, look: DataLook) -> list[Finding]:
    """Images that are smaller than the crop, in the middle of the random scales."""
    pipeline = find_pipeline(look.configs[name])
    if name in HELD_OUT or not pipeline:
        return []
    shares, always, seen = [], 0, None
    largest = highest_ratio(pipeline)
    for size in look.sizes(name):
        found = size_and_crop(size, pipeline)
        if found is None:
            return []
        shares.append(padded_share(*found))
        always += padded_share(*size_and_crop(size, pipeline, largest)) > 0
        seen = seen if seen and padded_share(*seen) >= shares[-1] else found
    small = sum(share > 0 for share in shares)
    if not small:
        return []
    (width, height), (crop_width, crop_height) = seen
    share = sum(shares) / len(shares)
    text = (
        f'stream {name!r}: {small} of {len(shares)} images are, once resized, smaller '
        f'than crop_size=({crop_height}, {crop_width}) (height, width), the smallest '
        f'{height} x {width}: {share:.0%} of what is trained on is padding'
    )
    if always:
        text += f', and {always} images never fill a crop'
    level = 'warning' if share > MUCH or always else 'note'
    return [Finding(level, ABOUT, text, 'Take a smaller crop_size, or a larger scale.')]


def _padding(name: str, look: DataLook) -> list[Finding]:
    """Crops that are padded though the image fills them."""
    pipeline = find_pipeline(look.configs[name]) or []
    size = padded_to(pipeline)
    found = size_and_crop((1, 1), pipeline)
    if name in HELD_OUT or size is None or found is None:
        return []
    crop = found[1]
    if size[0] <= crop[0] and size[1] <= crop[1]:
        return []
    share = padded_share(crop, tuple(map(max, size, crop)))
    text = (
        f'stream {name!r}: Pad has size={size} (width, height), larger than '
        f'crop_size={crop[::-1]} (height, width): at least {share:.0%} of what is '
        'trained on is padding'
    )
    how = f'Set size={crop} in Pad, which takes the width first.'
    return [Finding('warning', ABOUT, text, how)]


def _palette(name: str, look: DataLook) -> list[Finding]:
    for leaf in leaf_datasets(look.streams[name]):
        info = getattr(leaf, 'metainfo', None) or {}
        classes, palette = info.get('classes') or (), info.get('palette') or ()
        colours: dict[tuple, str] = {}
        for text, colour in zip(classes, palette, strict=False):
            other = colours.setdefault(tuple(colour), text)
            if other != text:
                return [
                    Finding(
                        'note',
                        ABOUT,
                        f'stream {name!r}: metainfo.palette paints {other!r} and '
                        f'{text!r} in one colour, {list(colour)}: pictures do not tell '
                        'them apart',
                        'Give each class a colour.',
                    )
                ]
    return []


def _batches(cfg: Any, look: DataLook) -> list[Finding]:
    found = []
    for name, loader in loaders_of(cfg).items():
        if name not in look.files:
            continue
        images, batch = len(look.files[name].images), loader.get('batch_size')
        setting = f'{loader_setting(cfg, name)}.batch_size'
        if not isinstance(batch, int) or not images or batch <= images:
            continue
        found.append(
            Finding(
                'warning',
                ABOUT,
                f'{setting}={batch}, but the stream {name!r} has {images} images: a '
                'batch shows one image several times',
                f'Set {setting}={max(images // 2 * 2, 2)} or less.',
            )
        )
    return found


def _validation(cfg: Any, look: DataLook) -> list[Finding]:
    loader = cfg.get('val_dataloader')
    if not loader:
        return [
            Finding(
                'warning',
                ABOUT,
                'val_dataloader is not set: the run says nothing about how good it is',
                'Set val_dataloader, val_evaluator and val_cfg.',
            )
        ]
    if 'val' not in look.files:
        return []
    found = []
    images = len(look.files['val'].images)
    if images < FEW:
        found.append(
            Finding(
                'note',
                ABOUT,
                f'validation has {images} images: differences of some mIoU are chance '
                f'below {FEW}',
                'Validate on more images, and compare several seeds.',
            )
        )
    return found


def _workers(cfg: Any, machine: Machine) -> list[Finding]:
    loaders = loaders_of(cfg)
    workers = {
        f'{loader_setting(cfg, name)}.num_workers': loader.get('num_workers', 0)
        for name, loader in loaders.items()
    }
    total = sum(workers.values())
    if machine.device == 'cuda' and loaders and not total:
        return [
            Finding(
                'warning',
                ABOUT,
                f'{", ".join(workers)} = 0: the GPU waits while images are loaded',
                f'Set num_workers to {max(1, min(4, machine.cores // 2))}.',
            )
        ]
    if total > 2 * machine.cores:
        named = ', '.join(f'{setting}={number}' for setting, number in workers.items())
        return [
            Finding(
                'note',
                ABOUT,
                f'{named}: {total} processes load images on {machine.cores} cores',
                'Fewer may be faster.',
            )
        ]
    return []


def _thresholds(model: Any) -> list[Finding]:
    """Thresholds that every pixel passes: some class has at least 1 / classes."""
    classes = getattr(model, 'num_classes', None)
    if not isinstance(classes, int) or classes < 1:
        return []
    return [
        Finding(
            'warning',
            ABOUT,
            f'model.{name}={value} keeps every pixel: of {classes} classes the most '
            f'probable one has at least 1/{classes} = {1 / classes:.2f}',
            f'Take a value between {1 / classes:.2f} and 1, or 0 to say so.',
        )
        for name, value in filters_of(model).items()
        if name.rpartition('.')[2] == 'threshold'
        and isinstance(value, (int, float))
        and 0 < value <= 1 / classes
    ]


def _decays(cfg: Any) -> list[Finding]:
    """Teachers that are slow for the length of the run."""
    length = (cfg.get('train_cfg') or {}).get('max_iters')
    found = []
    for index, hook in enumerate(cfg.get('custom_hooks') or []):
        if hook.get('type') != 'MeanTeacherHook' or hook.get('anneal'):
            continue
        decay = hook.get('decay', 0.99)
        if not isinstance(decay, (int, float)) or not 0 <= decay <= 1 or not length:
            continue  # the hook itself refuses it
        if decay == 1 or TOO_SLOW / (1 - decay) > length:
            steps = 'all' if decay == 1 else f'about {1 / (1 - decay):.0f}'
            most = max(0.0, 1 - SLOW / length)
            found.append(
                Finding(
                    'warning',
                    ABOUT,
                    f'custom_hooks[{index}].decay={decay}: the teacher is the mean of '
                    f'{steps} steps, which is slow for a run of {length}',
                    f'Take a decay up to {most:.2g}, or more iterations.',
                )
            )
    return found


def _weights(cfg: Any) -> list[Finding]:
    """Weights that a training would download at its start."""
    asked = find_pretrained(cfg.get('model') or {})
    remote = [f'{key}={file}' for key, file in asked.items() if is_remote(str(file))]
    if not remote:
        return []
    return [
        Finding(
            'note',
            ABOUT,
            f'the training downloads weights at its start: {", ".join(remote)}',
            'Without a network give a file by --pretrained FILE.',
        )
    ]


def _precision(cfg: Any, machine: Machine) -> list[Finding]:
    kind = (cfg.get('optim_wrapper') or {}).get('type', 'OptimWrapper')
    if kind == 'OptimWrapper' and machine.device == 'cpu' and machine.bfloat16:
        return [Finding('note', ABOUT, BFLOAT16)]
    if kind == 'OptimWrapper' and machine.device == 'cuda':
        return [
            Finding(
                'note',
                ABOUT,
                'the run computes in float32 on a GPU',
                'Mixed precision is faster: --amp.',
            )
        ]
    return []
