"""Parameters and floating point operations of the network that predicts.

Counted is one forward pass on the CPU with random weights (nothing is loaded), without
auxiliary heads, which predict nothing. A line names operators that have no count. As
in MMSegmentation's tool of this name, a multiplication with an addition is one
operation; `step_flops` counts a whole training step, and two. With sliding windows it
is one window.

examples:
  python tools/analysis_tools/get_flops.py work_dirs/mine/config.py
  python tools/analysis_tools/get_flops.py mine.py --network student --shape 512 512
"""

import argparse

import torch
from mmengine.analysis import FlopAnalyzer
from mmengine.config import DictAction
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.utils import launch
from mmsemiseg.utils.pretrained import without_pretrained
from mmsemiseg.utils.tool_settings import complete_config


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--network',
        metavar='NAME',
        help='student or teacher; with several pairs student0, teacher1, ... '
        "[the config's predict_with]",
    )
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('H', 'W'),
        help='size of the input [sliding window, or size of testing, or 512 512]',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    args = parser.parse_args(argv)
    if min(args.shape or (1,)) < 1:
        parser.error(f'--shape must be at least 1 1, but got {args.shape}')
    return args


def choose_network(model, name=None):
    """(its name, the network), of a method or a plain segmentor."""
    if not hasattr(model, 'networks'):
        return type(model).__name__, model
    name = name or model.predict_with
    if name not in model.networks:
        raise ValueError(
            f'--network must be one of {list(model.networks)} of this '
            f'{type(model).__name__}, but got {name!r}; a mean costs as much as its '
            'networks together'
        )
    return f'{name} of {type(model).__name__}', model.networks[name]


def test_shape(cfg, network):
    """(height, width) of the input when the network is tested."""
    test_cfg = getattr(network, 'test_cfg', None) or {}
    if test_cfg.get('mode') == 'slide':
        return tuple(test_cfg['crop_size'])
    complete_config(cfg)
    for step in cfg.get('test_pipeline') or ():
        scale = step.get('scale')
        if step['type'] == 'Resize' and isinstance(scale, (tuple, list)):
            return tuple(reversed(scale))
    return 512, 512


def count(network, shape):
    """Parameters, those of auxiliary heads alone, operations, what is not counted."""
    total = sum(p.numel() for p in network.parameters())
    network.auxiliary_head = None
    image = torch.rand(1, 3, *shape)
    found = FlopAnalyzer(network.eval(), (image,))
    found.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    used = sum(p.numel() for p in network.parameters())
    flops = found.total()
    missing = sorted({name.split('::')[-1] for name in found.unsupported_ops()})
    return used, total - used, flops, missing


def main(args):
    cfg = launch.read_config(args.config)
    launch.merge_options(cfg, args.cfg_options)
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    model = revert_sync_batchnorm(MODELS.build(without_pretrained(cfg.model)))
    name, network = choose_network(model, args.network)
    shape = tuple(args.shape or test_shape(cfg, network))
    parameters, auxiliary, flops, missing = count(network, shape)
    print(f'{name}, input 3 x {shape[0]} x {shape[1]}')
    print(f'parameters: {parameters / 1e6:.3f} M')
    if auxiliary:
        print(f'of auxiliary heads, in training alone: {auxiliary / 1e6:.3f} M more')
    if missing:
        print(f'operators that are not counted: {", ".join(missing)}')
    print(f'FLOPs: {flops / 1e9:.3f} G (a multiplication with an addition is one)')


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
