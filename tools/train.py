"""Train a config: `mim train mmsemiseg CONFIG` or `python tools/train.py CONFIG`."""

import argparse
import os

from mmengine.config import DictAction
from mmengine.device import get_device
from mmseg.registry import MODELS, RUNNERS

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.engine.runner import QuietRunner
from mmsemiseg.engine.runner.loop_checks import check_loop_reads
from mmsemiseg.engine.runner.type_checks import check_types
from mmsemiseg.utils import launch
from mmsemiseg.utils.baseline import use_sup_only


def parse_args():
    parser = argparse.ArgumentParser(description='Train a semi-supervised segmentor.')
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='folder of logs and checkpoints [work_dirs/<config name>]'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='go on from this checkpoint; without a value from the newest one in the '
        'work folder',
    )
    parser.add_argument('--load-from', help='start from the weights of this checkpoint')
    parser.add_argument(
        '--pretrained',
        metavar='FILE',
        help="file with the backbone's weights, or the name of weights in a Python "
        'package (efficientnet-lite0), instead of those that the config would download',
    )
    parser.add_argument(
        '--seed', type=int, help='seed of data order, augmentation and weights'
    )
    parser.add_argument(
        '--sup-only',
        action='store_true',
        help='train one student on the labels of the config alone, in as many steps, '
        'to compare with; work folder: <that of the config>_sup-only',
    )
    parser.add_argument(
        '--amp',
        action='store_true',
        help='automatic mixed precision: fp16 on an accelerator, bf16 on a CPU',
    )
    parser.add_argument(
        '--amp-dtype',
        choices=['fp16', 'bf16'],
        help='automatic mixed precision of this type',
    )
    parser.add_argument(
        '--channels-last',
        action='store_true',
        help='store images and weights with the channels last, which makes most '
        'networks faster',
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config: key=value ..., with lists as '
        'key="[a,b]" or key=a,b',
    )
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='how the processes of a distributed run were started',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    args = parser.parse_args()
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def build_config(args):
    if args.pretrained is not None:
        launch.existing_weights(args.pretrained, '--pretrained')
    cfg = launch.load_config(args.config, args.cfg_options, args.work_dir)
    if args.sup_only:
        use_sup_only(cfg)
        if args.work_dir is None:
            cfg.work_dir += '_sup-only'
    cfg.launcher = args.launcher
    if args.load_from is not None:
        cfg.load_from = launch.existing_file(args.load_from, '--load-from')
    if args.pretrained is not None:
        launch.use_pretrained(cfg.model, args.pretrained)
        student = launch.student_configs(cfg.model)[0]
        launch.require_fit(MODELS.build(student.backbone), args.pretrained)
    if args.seed is not None:
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=args.seed)
    if args.amp or args.amp_dtype:
        launch.use_amp(cfg, get_device(), args.amp_dtype)
    if args.channels_last:
        launch.use_channels_last(cfg)
    if args.resume is not None:
        launch.use_resume(cfg, args.resume)
    return cfg


def main(args):
    cfg = build_config(args)
    check_types(cfg)
    check_loop_reads(cfg.get('train_cfg'), cfg.get('train_dataloader'))
    build = RUNNERS.build if 'runner_type' in cfg else QuietRunner.from_cfg
    build(cfg).train()


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
