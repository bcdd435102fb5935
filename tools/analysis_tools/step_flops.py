"""Floating point operations of one training step, by stage, forward and backward.

The step runs once on the CPU: the config's model with random weights (nothing is
loaded) and sharpened logits, so that confidences are as high as those of a trained one;
at the last iteration of train_cfg, past all warm-ups, with full memory banks; on
generated images that go through the pipelines of the config's streams. Resizing is left
out there, so every pixel of a crop is valid. What depends on predictions, such as the
number of cells that a loss selects, is one example.

The stages are those that the package names (mmsemiseg.utils.profiling), each without
the stages inside of it; `images` are those that networks see there. Of them

- supervised pass: the student's own loss() on the labeled images;
- student pass: its passes on the others, backbone, neck and heads;
- pass without gradient: those of teachers and labelers;
- projection, attention: heads and attention of a contrast, which is the rest of it;
- rest: what has no name.

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
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from prettytable import PrettyTable
from torch import Tensor, nn

from mmsemiseg.benchmark.flops import REST, PartCounter
from mmsemiseg.benchmark.full_memories import fill_memories
from mmsemiseg.benchmark.generated_batches import generated_batches
from mmsemiseg.datasets.stream_dataset import sample_rng
from mmsemiseg.functional import class_attention, group_logsumexp, resizing
from mmsemiseg.models import Batch, SemiSegmentor
from mmsemiseg.utils.command import exit_with
from mmsemiseg.utils.launch import load_config
from mmsemiseg.utils.profiling import watched

SPREAD = 5.0  # standard deviation of a pixel's logits
GIGA = 1e9
OF_STUDENT = ('supervised pass', 'student pass')

# Alonso et al., ICCV 2021, section 4.4: GFLOPs at 512 x 512, DeepLabV2 with ResNet-101
PAPER = dict(forward=372.04, projection=8.59, attention=15.96, distance=10.52)


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--size',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help="size of the images [the config's crops]",
    )
    for stream in ('labeled', 'unlabeled'):
        parser.add_argument(
            f'--{stream}',
            type=int,
            metavar='N',
            help='images of this stream [its batch_size]',
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
            f'the stages are those of a SemiSegmentor, but model is a {cfg.model.type}'
        )
    # How many rows enter a memory changes no operation
    streams = dict.fromkeys(cfg.train_dataloader, 1)
    model.set_stream_sizes(streams, streams)
    fill_memories(model)
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


# The step


def count_step(cfg: Config, args) -> dict:
    """All figures of a step of the config."""
    if (cfg.get('train_cfg') or {}).get('type') != 'SemiTrainLoop':
        raise ValueError('the config must train with train_cfg.type=SemiTrainLoop')
    with sample_rng(0):
        model = build_model(cfg)
        numbers = dict(labeled=args.labeled, unlabeled=args.unlabeled)
        batches = generated_batches(cfg, model.num_classes, numbers, args.size)
        data = model.data_preprocessor(batches, training=True)
        try_kernels()
        sharpen(model, data['inputs']['labeled'].inputs)
        counter = PartCounter()
        last = cfg.train_cfg.max_iters - 1
        with _iteration(last), watched(counter.part), _images(model, counter) as images:
            # by interpolation, as on other devices, not by the products of a CPU
            with counter, patch.object(resizing, 'MOST_CELLS', 0):
                loss, _ = model.parse_losses(model(**data, mode='loss'))
                counter.backward(loss)
    return dict(
        config=Path(args.config).name,
        model=cfg.model.type,
        torch=torch.__version__,
        streams={name: _shapes(part) for name, part in data['inputs'].items()},
        images=dict(images),
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
def _images(model: SemiSegmentor, counter: PartCounter) -> Iterator[Counter[str]]:
    """Count the images that enter a network, for the stage in which they do."""
    images: Counter[str] = Counter()

    def see(module: nn.Module, inputs: tuple) -> None:
        images[counter.current] += len(inputs[0])

    with ExitStack() as stack:
        for network in model.networks.values():
            stack.enter_context(network.backbone.register_forward_pre_hook(see))
        yield images


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


def stages_of(result: dict) -> list[str]:
    """In the order in which they begin."""
    names = dict.fromkeys(entry['part'] for entry in result['flops'])
    return [*(name for name in names if name != REST), REST]


def report(result: dict) -> str:
    lines = [f'{result["config"]} ({result["model"]}), PyTorch {result["torch"]}']
    for stream, shapes in result['streams'].items():
        views = shapes if isinstance(shapes, dict) else {'': shapes}
        for view, shape in views.items():
            name = f'{stream} {view}'.strip()
            lines.append(f'{name}: {" x ".join(map(str, shape))}')
    missing = ', '.join(result['uncounted'])
    return '\n'.join([*lines, '', _stages_table(result), f'not counted: {missing}'])


def _stages_table(result: dict) -> str:
    rows, total = [], summed(result)
    for part in [*stages_of(result), 'sum']:
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
    head = 'stage|images|forward|backward|GFLOPs|of it elementwise|share %'
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

    def forward(*stages: str) -> float:
        return sum(summed(result, part=s, backward=False) for s in stages) / GIGA

    images = sum(result['images'][stage] for stage in OF_STUDENT)
    here = dict(
        forward=forward(*OF_STUDENT) / images,
        projection=forward('projection'),
        attention=forward('attention'),
        distance=forward('contrast loss'),
    )
    names = dict(
        forward='student, one image',
        three='three such passes',
        projection='projection and prediction heads',
        attention='attention modules',
        distance='distance',
        contrast='the last three',
        step='passes and contrast',
    )
    columns = [_with_sums(figures) for figures in (here, PAPER)]
    rows = [
        [name, *(f'{figures[key]:.2f}' for figures in columns)]
        for key, name in names.items()
    ]
    return table(['GFLOPs, forward only', 'here', "the paper's"], rows)


def _with_sums(figures: dict[str, float]) -> dict[str, float]:
    three = 3 * figures['forward']
    contrast = sum(figures[name] for name in ('projection', 'attention', 'distance'))
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
    exit_with(main)
