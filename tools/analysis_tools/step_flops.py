"""Floating point operations of one training step, by part, forward and backward.

The step runs once on the CPU: the config's model with random weights (nothing is
loaded) and sharpened logits, so that confidences are as high as those of a trained one;
at the last iteration of train_cfg, past all warm-ups, with full memory banks; on
generated images that go through the pipelines of the config's streams. Resizing is left
out there, so every pixel of a crop is valid. What depends on predictions, such as the
number of cells that a loss selects, is one example. Parts:

- student, teacher: backbone, neck and heads of a network, `images` all that it sees;
- heads: projection and prediction heads;
- attention: attention modules;
- distance: the contrastive loss itself;
- augmentation: scaling, colours and blur on the device;
- rest: everything else, such as resizing of logits, cross entropy, mixing.

A multiplication and addition are two operations. Other arithmetic counts by values
(`of it elementwise`): one for each value of a pointwise operator, a few for softmax,
BatchNorm, bilinear resizing. Not counted: comparing, sorting, gathering, copying (named
below the table), the preprocessor's work on the data, the optimizer, and what hooks do
after the step (teacher's average, bank).

--paper prints the paper's figures beside, for CMB: an image of 512 x 512 each.

examples:
  python tools/analysis_tools/step_flops.py \\
      configs/cac/cac_deeplabv3plus-r18_camvid-seq24.py
  python tools/analysis_tools/step_flops.py my_config.py \\
      --size 512 512 --labeled 1 --unlabeled 1 --out flops.json
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, DictAction
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TRANSFORMS
from prettytable import PrettyTable
from torch import Tensor, nn

import mmsemiseg
from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.datasets.transforms.strict_compose import StrictCompose
from mmsemiseg.functional import class_attention, group_logsumexp
from mmsemiseg.models import Batch, SemiSegmentor
from mmsemiseg.models.memories import ClassQueueBank, FrequencyWindow, StepQueue
from mmsemiseg.utils.launch import load_config

sys.path.insert(0, str(Path(__file__).parent))  # also when this file is imported

from figure_common import leaf_configs, run_tool  # noqa: E402
from flop_parts import REST, PartCounter  # noqa: E402

AUGMENTATION = 'augmentation'
HEADS, ATTENTION, DISTANCE = 'heads', 'attention', 'distance'
PACKAGE = mmsemiseg.__name__
PART_OF_FUNCTIONS = {
    f'{PACKAGE}.functional.{module}': part
    for module, part in dict(
        augment=AUGMENTATION,
        class_attention=ATTENTION,
        contrast=DISTANCE,
        group_logsumexp=DISTANCE,
        multi_positive=DISTANCE,
        weighted_cosine=DISTANCE,
    ).items()
}
BLOCK = 16  # pixels of the squares of one class in generated masks
SPREAD = 5.0  # standard deviation of a pixel's logits
GIGA = 1e9

# Alonso et al., ICCV 2021, section 4.4: GFLOPs at 512 x 512, DeepLabV2 with ResNet-101
PAPER = dict(forward=372.04, heads=8.59, attention=15.96, distance=10.52)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--size', type=int, nargs=2, metavar=('H', 'W'), help="[the config's crops]"
    )
    for stream in ('labeled', 'unlabeled'):
        parser.add_argument(
            f'--{stream}', type=int, metavar='N', help='images [its batch_size]'
        )
    parser.add_argument(
        '--paper',
        action='store_true',
        help='for CMB: the figures of its paper; sets --size 512 512, one image each',
    )
    parser.add_argument('--out', type=Path, metavar='FILE', help='JSON of all figures')
    args = parser.parse_args(argv)
    if args.paper:
        args.size = args.size or [512, 512]
        args.labeled, args.unlabeled = args.labeled or 1, args.unlabeled or 1
    numbers = [*(args.size or ()), args.labeled, args.unlabeled]
    if any(n is not None and n < 1 for n in numbers):
        parser.error('--size, --labeled and --unlabeled must be at least 1')
    return args


# The model: no weights from files, full banks


def build_model(cfg: Config) -> SemiSegmentor:
    init_default_scope(cfg.default_scope)
    _drop_pretrained(cfg.model)
    model = revert_sync_batchnorm(MODELS.build(cfg.model))
    if not isinstance(model, SemiSegmentor):
        raise ValueError(
            f'the parts are those of a SemiSegmentor, but model is a {cfg.model.type}'
        )
    for module in model.modules():
        _fill(module)
    return model.train()


def _drop_pretrained(cfg) -> None:
    if isinstance(cfg, dict):
        if isinstance(cfg.get('pretrained'), str):
            cfg['pretrained'] = None
        if str((cfg.get('init_cfg') or {}).get('type')).startswith('Pretrained'):
            cfg['init_cfg'] = None
    for value in cfg.values() if isinstance(cfg, dict) else cfg:
        if isinstance(value, (dict, list, tuple)):
            _drop_pretrained(value)


def _fill(module: nn.Module) -> None:
    """Random rows in all places of a memory, as many for each class."""
    if isinstance(module, StepQueue):
        labels = torch.randint(20, (module.size,))
        module.enqueue(torch.randn(module.size, module.dim), labels)
    elif isinstance(module, ClassQueueBank):
        group = torch.arange(module.groups).repeat(module.size)
        module.enqueue(torch.randn(len(group), module.dim), group)
    elif isinstance(module, FrequencyWindow):
        module.enqueue(torch.ones(module.length, module.num_classes, dtype=torch.int64))


@torch.no_grad()
def sharpen(model: SemiSegmentor, images: Tensor) -> None:
    """Scale the classifiers so that confidences lie all over the upper range."""
    for network in model.networks.values():
        head = network.decode_head
        head = head[-1] if isinstance(head, nn.ModuleList) else head
        logits = model.adapter(network, images).logits
        factor = SPREAD / logits.std(1).mean().clamp_min(1e-6)
        for parameter in head.get_submodule(model.adapter.rule.classifier).parameters():
            parameter.mul_(factor)


def try_kernels() -> None:
    """Each fused kernel is tried out once in a process, which is no part of a step."""
    rows, group = torch.ones(2, 16), torch.zeros(2, dtype=torch.int64)
    group_logsumexp(rows, rows, group, group, 1)
    filled, weight, one = group[:, None] == 0, torch.eye(16)[None], rows[:1]
    class_attention(rows[:, None], filled, group, weight, one, one, one)


# Batches: generated images in the config's own pipelines


def make_batches(cfg: Config, classes: int, args) -> dict:
    """``{stream: collated batch}``, as the training loop gets it."""
    batches = {}
    for name, loader in cfg.train_dataloader.items():
        number = getattr(args, name, None) or loader.batch_size
        leaf = leaf_configs(loader.dataset)[0]
        samples = [
            _sample(leaf, name, index, classes, args.size) for index in range(number)
        ]
        batches[name] = pseudo_collate(samples)
    return batches


def _sample(leaf: dict, stream: str, index: int, classes: int, size) -> dict:
    labeled = _mentions(leaf.pipeline, 'LoadAnnotations')
    transforms = _without_files(leaf.pipeline, size)
    crop = _crop_size(transforms)
    if crop is None and size is None:
        raise ValueError(
            f'the pipeline of stream {stream} has no crop_size: give --size'
        )
    shape = tuple(size) if crop is None else tuple(2 * side for side in crop)
    results = dict(
        img=np.random.randint(256, size=(*shape, 3), dtype=np.uint8),
        img_path=f'{stream}-{index}.png',
        img_shape=shape,
        ori_shape=shape,
        seg_fields=[],
        reduce_zero_label=False,
    )
    if labeled:
        blocks = np.random.randint(classes, size=[-(-s // BLOCK) for s in shape])
        mask = np.kron(blocks, np.ones((BLOCK, BLOCK), int))[: shape[0], : shape[1]]
        results.update(gt_seg_map=mask.astype(np.uint8), seg_fields=['gt_seg_map'])
    return StrictCompose([TRANSFORMS.build(t) for t in transforms])(results)


def _without_files(pipeline, size) -> list:
    """No loading, no resizing; crops of ``size`` where it is given."""
    kept = []
    for transform in pipeline:
        kind = str(transform.get('type'))
        if not (kind.startswith('Load') or kind.endswith('Resize')):
            kept.append(_edited(transform, size))
    return kept


def _edited(cfg, size):
    if isinstance(cfg, (list, tuple)) and all(_is_transform(c) for c in cfg):
        return _without_files(cfg, size)
    if not isinstance(cfg, dict):
        return cfg
    edited = {key: _edited(value, size) for key, value in cfg.items()}
    if size is not None and 'crop_size' in edited:
        edited['crop_size'] = tuple(size)
    return edited


def _is_transform(cfg) -> bool:
    return isinstance(cfg, dict) and 'type' in cfg


def _crop_size(cfg) -> tuple[int, int] | None:
    """The first ``crop_size`` in it."""
    if isinstance(cfg, dict) and cfg.get('crop_size') is not None:
        side = cfg['crop_size']
        return (side, side) if isinstance(side, int) else tuple(side)
    parts = cfg.values() if isinstance(cfg, dict) else cfg
    nested = (_crop_size(p) for p in parts if isinstance(p, (dict, list, tuple)))
    return next((crop for crop in nested if crop is not None), None)


def _mentions(cfg, kind: str) -> bool:
    if isinstance(cfg, dict):
        return cfg.get('type') == kind or any(_mentions(v, kind) for v in cfg.values())
    return isinstance(cfg, (list, tuple)) and any(_mentions(v, kind) for v in cfg)


# The step


def count_step(cfg: Config, args) -> dict:
    """All figures of a step of the config."""
    if (cfg.get('train_cfg') or {}).get('type') != 'SemiTrainLoop':
        raise ValueError('the config must train with train_cfg.type=SemiTrainLoop')
    with sample_rng(0):
        model = build_model(cfg)
        batches = make_batches(cfg, model.num_classes, args)
        data = model.data_preprocessor(batches, training=True)
        try_kernels()
        model.set_num_labeled(1)  # how many rows enter a bank changes no operation
        sharpen(model, data['inputs']['labeled'].inputs)
        images: Counter = Counter()
        counter = PartCounter()
        last = cfg.train_cfg.max_iters - 1
        with _iteration(last), _parts_of(model, counter, images), counter:
            loss, _ = model.parse_losses(model(**data, mode='loss'))
            counter.backward(loss)
    return dict(
        config=Path(args.config).name,
        model=cfg.model.type,
        torch=torch.__version__,
        streams={name: _shapes(part) for name, part in data['inputs'].items()},
        images={name: images[name] for name in model.networks if images[name]},
        flops=[dict(key._asdict(), flops=n) for key, n in counter.flops.items()],
        uncounted=sorted(counter.uncounted),
    )


@contextmanager
def _iteration(number: int) -> Iterator[None]:
    hub = MessageHub.get_current_instance()
    before = hub.get_info('iter', 0)
    hub.update_info('iter', number)
    try:
        yield
    finally:
        hub.update_info('iter', before)


@contextmanager
def _parts_of(model: SemiSegmentor, counter: PartCounter, images: Counter):
    """Let the counter know when a part of the model runs."""

    def see_images(name: str, function):
        def forward(module: nn.Module, inputs: Tensor, *args, **kwargs):
            images[name] += len(inputs)
            return function(module, inputs, *args, **kwargs)

        return forward

    with ExitStack() as stack:
        for module, part in _modules(model):
            made = counter.wrap(part, type(module).forward)
            stack.enter_context(_with_forward(module, made))
        for name, network in model.networks.items():
            made = see_images(name, type(network.backbone).forward)
            stack.enter_context(_with_forward(network.backbone, made))
        for module, name, part in _functions():
            made = counter.wrap(part, getattr(module, name))
            stack.enter_context(_replaced(module, name, made))
        yield


@contextmanager
def _with_forward(module: nn.Module, forward) -> Iterator[None]:
    """Through a class of its own: ``module.forward`` is left to what a step sets."""
    kind = type(module)
    place = dict(forward=forward, __module__=kind.__module__)
    module.__class__ = type(kind.__name__, (kind,), place)
    try:
        yield
    finally:
        module.__class__ = kind


def _modules(model: SemiSegmentor) -> Iterator[tuple[nn.Module, str]]:
    """Modules whose forward is a part, with its name."""
    inside = set()
    for name, network in model.networks.items():
        inside |= {id(module) for module in network.modules()}
        for child in network.children():
            for module in child if isinstance(child, nn.ModuleList) else [child]:
                yield module, name
    for module in model.modules():
        part = _part_of(type(module))
        if part is not None and id(module) not in inside:
            yield module, part


def _part_of(kind: type) -> str | None:
    """The part that a module beside the networks is, by its class."""
    if kind.__module__.startswith(f'{PACKAGE}.models.losses'):
        return DISTANCE
    if not kind.__module__.startswith(f'{PACKAGE}.models.heads'):
        return None
    if 'Attention' in kind.__name__:
        return ATTENTION
    return DISTANCE if 'Contrast' in kind.__name__ else HEADS


def _functions() -> Iterator[tuple]:
    """(module, name, part) of each name under which ours hold such a function."""
    for place, module in list(sys.modules.items()):
        if place.startswith(f'{PACKAGE}.'):
            for name, value in list(vars(module).items()):
                part = PART_OF_FUNCTIONS.get(getattr(value, '__module__', None))
                if part and callable(value) and not isinstance(value, type):
                    yield module, name, part


@contextmanager
def _replaced(module, name: str, value) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def _shapes(part) -> dict | list:
    if isinstance(part, Batch):
        return list(part.inputs.shape)
    return {view: _shapes(batch) for view, batch in part.items()}


# Output


def summed(result: dict, **only) -> int:
    """Operations of the entries that match, all if nothing is asked."""
    return sum(
        entry['flops']
        for entry in result['flops']
        if all(entry[name] == value for name, value in only.items())
    )


def parts_of(result: dict) -> list[str]:
    found = {entry['part'] for entry in result['flops']}
    order = [*result['images'], HEADS, ATTENTION, DISTANCE, AUGMENTATION, REST]
    return [part for part in order if part in found]


def report(result: dict) -> str:
    lines = [f'{result["config"]} ({result["model"]}), PyTorch {result["torch"]}']
    for stream, shapes in result['streams'].items():
        views = shapes if isinstance(shapes, dict) else {'': shapes}
        for view, shape in views.items():
            name = f'{stream} {view}'.strip()
            lines.append(f'{name}: {" x ".join(map(str, shape))}')
    missing = ', '.join(result['uncounted'])
    return '\n'.join([*lines, '', _parts_table(result), f'not counted: {missing}'])


def _parts_table(result: dict) -> str:
    rows, total = [], summed(result)
    for part in [*parts_of(result), 'sum']:
        only = {} if part == 'sum' else dict(part=part)
        both = summed(result, **only)
        numbers = [
            summed(result, backward=False, **only),
            summed(result, backward=True, **only),
            both,
            summed(result, product=False, **only),
        ]
        giga = [f'{number / GIGA:.3f}' for number in numbers]
        share = f'{100 * both / total:.2f}'
        rows.append([part, result['images'].get(part, ''), *giga, share])
    head = 'part|images|forward|backward|GFLOPs|of it elementwise|share %'
    return table(head.split('|'), rows)


def table(head: list[str], rows: list[list]) -> str:
    text = PrettyTable(head)
    text.align = 'r'
    text.align[head[0]] = 'l'
    text.add_rows(rows)
    return str(text)


def paper_table(result: dict) -> str:
    """The paper's figures, which count forward passes, beside those here."""
    if result['model'] != 'CMB':
        raise ValueError(f"--paper has CMB's figures, but model is {result['model']}")
    passes = summed(result, part='student', backward=False)
    here = dict(forward=passes / result['images']['student'] / GIGA)
    for part in (HEADS, ATTENTION, DISTANCE):
        here[part] = summed(result, part=part, backward=False) / GIGA
    names = dict(
        forward='student, one image',
        three='three such passes',
        heads='projection and prediction heads',
        attention='attention modules',
        distance='distance',
        contrast='the last three',
        step='passes and contrast',
    )
    rows = []
    columns = [_with_sums(figures) for figures in (here, PAPER)]
    for key, name in names.items():
        rows.append([name, *(f'{figures[key]:.2f}' for figures in columns)])
    head = ['GFLOPs, forward only', 'here', "the paper's"]
    return table(head, rows)


def _with_sums(figures: dict[str, float]) -> dict[str, float]:
    three = 3 * figures['forward']
    contrast = sum(figures[part] for part in (HEADS, ATTENTION, DISTANCE))
    return dict(figures, three=three, contrast=contrast, step=three + contrast)


def main(argv=None) -> int:
    args = parse_args(argv)
    result = count_step(load_config(args.config, args.cfg_options), args)
    print(report(result))
    if args.paper:
        print(f'\n{paper_table(result)}')
    if args.out is not None:
        args.out.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    return 0


if __name__ == '__main__':
    run_tool(main)
