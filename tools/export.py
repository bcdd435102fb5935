"""Write one network of a training checkpoint as a plain model of MMSegmentation.

Writes NETWORK.py and NETWORK.pth: config and weights of the student, the teacher, ...
of a semi-supervised method. They need nothing of mmsemiseg, unless the model, the data
set or the metrics are of mmsemiseg. Code in the checkpoint never runs.

examples:
  # the network that the config predicts with
  python tools/export.py work_dirs/mine/config.py work_dirs/mine/iter_4000.pth \\
      --out plain

  # the second teacher of CTT, without data set and metrics
  python tools/export.py work_dirs/ctt/config.py work_dirs/ctt/iter_800.pth \\
      --network teacher1 --inference-only --out plain
"""

import argparse
import json
import shlex
from pathlib import Path

import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.engine.checkpoints import (
    CheckpointError,
    atomic_write,
    describe_broken,
    plain_values,
    read_checkpoint,
)
from mmsemiseg.utils import launch
from mmsemiseg.utils.export import export_network

PREDICT = (
    'from mmseg.apis import inference_model, init_model, show_result_pyplot; '
    'model = init_model({config}, {weights}, device="cpu"); '
    'show_result_pyplot(model, "IMAGE.png", inference_model(model, "IMAGE.png"), '
    'show=False, out_file="painted.png")'
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='config of the run, best its config.py')
    parser.add_argument('checkpoint', help='checkpoint of the run')
    parser.add_argument(
        '--out', required=True, metavar='DIR', help='folder to write to'
    )
    parser.add_argument(
        '--network',
        metavar='NAME',
        help='student or teacher; with several pairs student0, teacher1, ... '
        "[the config's predict_with]",
    )
    parser.add_argument(
        '--inference-only',
        action='store_true',
        help='leave data set and metrics out of the config: it predicts, but cannot be '
        'tested',
    )
    parser.add_argument(
        '--force', action='store_true', help='overwrite files in the folder'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config: key=value ...',
    )
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    return parser.parse_args(argv)


def write(exported, folder, force=False):
    """Write config and checkpoint; returns their paths.

    Raises:
        FileExistsError: One of them is there, and not `force`.
    """
    config, weights = (Path(folder) / f'{exported.network}{x}' for x in ('.py', '.pth'))
    there = [str(path) for path in (config, weights) if path.exists()]
    if there and not force:
        raise FileExistsError(f'{", ".join(there)}: --force overwrites')
    with atomic_write(weights) as part:
        torch.save(plain_values(exported.checkpoint), part)
    with atomic_write(config) as part:
        Path(part).write_text(exported.config.pretty_text, encoding='utf-8')
    return config, weights


def report(exported, config, weights):
    """What was written, what it needs, and the commands that use it."""
    classes = len(exported.checkpoint['meta']['dataset_meta']['classes'])
    tensors = len(exported.checkpoint['state_dict'])
    print(f'{config}: {exported.config.model.type}, {classes} classes')
    print(f'{weights}: {tensors} tensors of {exported.network}')
    if exported.needs:
        found = ', '.join(f'{kind} ({at})' for kind, at in exported.needs.items())
        print(f'needs mmsemiseg, which the config imports: {found}')
        tests = ('test_dataloader', 'test_evaluator', 'test_cfg')
        if all(at.startswith(tests) for at in exported.needs.values()):
            print('with --inference-only it would not')
    else:
        print('needs nothing of mmsemiseg')
    paths = [shlex.quote(str(path)) for path in (config, weights)]
    if 'test_evaluator' in exported.config:
        print(f'test:\n  mim test mmsemiseg {paths[0]} --checkpoint {paths[1]}')
    if 'test_pipeline' in exported.config:
        code = PREDICT.format(
            config=json.dumps(str(config)), weights=json.dumps(str(weights))
        )
        print(f'predict and paint an image:\n  python -c {shlex.quote(code)}')


def main(args):
    cfg = launch.read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    content = read_checkpoint(args.checkpoint)
    if broken := describe_broken(dict(state_dict=content.get('state_dict'))):
        raise CheckpointError(f'{args.checkpoint} is of no use: {broken}')
    exported = export_network(cfg, content, args.network, args.inference_only)
    report(exported, *write(exported, args.out, args.force))


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
