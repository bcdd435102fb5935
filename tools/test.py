"""Evaluate a checkpoint: `mim test mmsemiseg CONFIG --checkpoint FILE`."""

import argparse
import inspect
import os

from mmengine.config import DictAction
from mmseg.registry import METRICS, RUNNERS

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.engine.runner import QuietRunner
from mmsemiseg.utils import launch
from mmsemiseg.utils.tool_settings import use_tta


def parse_args():
    parser = argparse.ArgumentParser(
        description='Evaluate a checkpoint on the test data of a config.'
    )
    parser.add_argument('config', help='config file')
    parser.add_argument('file', nargs='?', metavar='CHECKPOINT', help='checkpoint file')
    parser.add_argument('--checkpoint', help='checkpoint file, given by an option')
    parser.add_argument(
        '--work-dir', help='folder of the logs [work_dirs/<config name>]'
    )
    parser.add_argument(
        '--out',
        metavar='DIR',
        help='save the predicted label maps here, in the sub-folders of their images',
    )
    parser.add_argument(
        '--show-dir',
        metavar='DIR',
        help='save the images with painted predictions here, in their sub-folders',
    )
    parser.add_argument(
        '--predict-with',
        metavar='NETWORK',
        help='student, teacher or mean; with several pairs student0, teacher1, '
        "mean_students, ... [the config's]",
    )
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test-time augmentation: average over several scales and flips, those of '
        "the config's tta_pipeline or six scales, each flipped as well",
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config: key=value ...',
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
    if (args.file is None) == (args.checkpoint is None):
        parser.error('give one checkpoint, as second argument or by --checkpoint')
    args.checkpoint = args.checkpoint or args.file
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    return args


def save_predictions(cfg, folder):
    """Let the metrics that can do so write each predicted label map to `folder`."""
    evaluators = cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]
    able = [
        evaluator
        for evaluator in evaluators
        if 'output_dir' in inspect.signature(METRICS.get(evaluator.type)).parameters
    ]
    if not able:
        types = [evaluator.type for evaluator in evaluators]
        raise ValueError(f'--out: none of the metrics {types} has an output_dir')
    writer, kind = able[0], METRICS.get(able[0].type)
    writer.output_dir = folder
    if kind is METRICS.get('IoUMetric'):  # the same, with sub-folders and one numbering
        writer.update(type='PerClassIoUMetric', per_class=False)
    if 'keep_results' in inspect.signature(kind).parameters:
        writer.keep_results = True


def paint_images(cfg, folder):
    """Let a hook write every painted image below `folder`."""
    cfg.default_hooks.visualization = dict(type='PaintedImagesHook', folder=folder)
    cfg.visualizer = dict(type='SegLocalVisualizer')


def main(args):
    launch.existing_file(args.checkpoint, 'checkpoint')
    cfg = launch.load_config(
        args.config, args.cfg_options, args.work_dir, dump_as='test_config.py'
    )
    cfg.launcher = args.launcher
    cfg.load_from, cfg.resume = args.checkpoint, False
    cfg.default_hooks = cfg.get('default_hooks') or {}
    cfg.default_hooks.predictions = dict(type='PredictionFilesHook')
    if args.predict_with is not None:
        cfg.model.predict_with = args.predict_with
    if args.tta:
        use_tta(cfg)
    if args.out is not None:
        save_predictions(cfg, args.out)
    if args.show_dir is not None:
        paint_images(cfg, args.show_dir)
    build = RUNNERS.build if 'runner_type' in cfg else QuietRunner.from_cfg
    build(cfg).test()


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
