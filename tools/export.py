"""Write one network of a training checkpoint as a plain model, and as ONNX.

Writes NETWORK.py and NETWORK.pth: config and weights of the student, the teacher, ...
of a semi-supervised method for MMSegmentation. They need nothing of mmsemiseg, unless
the model, the data set or the metrics are of mmsemiseg. With --onnx and --torchscript
also NETWORK.onnx and NETWORK.pt, from an image to its classes, which are compared with
the network and timed. Code in the checkpoint never runs.

examples:
  # the network that the config predicts with
  python tools/export.py work_dirs/mine/config.py work_dirs/mine/iter_4000.pth \\
      --out plain

  # the second teacher of CTT, without data set and metrics
  python tools/export.py work_dirs/ctt/config.py work_dirs/ctt/iter_800.pth \\
      --network teacher1 --inference-only --out plain

  # for ONNX Runtime: images of any size, or of one size
  python tools/export.py work_dirs/mine/config.py work_dirs/mine/iter_4000.pth \\
      --out plain --onnx
  python tools/export.py work_dirs/mine/config.py work_dirs/mine/iter_4000.pth \\
      --out plain --onnx --torchscript --size 512x1024 --image example.jpg
"""

import argparse
import json
import shlex
from pathlib import Path

import mmcv
import torch
from mmengine.config import DictAction
from mmengine.registry import init_default_scope

import mmsemiseg  # noqa: F401  (registers everything)
from mmsemiseg.apis import Predictor
from mmsemiseg.datasets.strict_decode import decode_image
from mmsemiseg.deploy import INPUTS, OUTPUTS, Settings, require_packages, write_graphs
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


def image_size(text):
    """'512' or '512x1024' as height and width."""
    sides = [int(side) for side in text.split('x')]
    if len(sides) > 2 or min(sides) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no size like 512 or 512x1024')
    return sides[0], sides[-1]


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
    graphs = parser.add_argument_group('files that run without MMSegmentation')
    graphs.add_argument('--onnx', action='store_true', help='write NETWORK.onnx, too')
    graphs.add_argument(
        '--torchscript', action='store_true', help='write NETWORK.pt, too'
    )
    graphs.add_argument(
        '--size',
        type=image_size,
        metavar='SIZE',
        help='one size of the images, such as 512 or 512x1024 (height x width), which '
        'is faster and which windows need [any size]',
    )
    graphs.add_argument(
        '--input',
        choices=INPUTS,
        default='image',
        help='RGB as bytes (1, H, W, 3), prepared inside as in testing; or a tensor '
        '(1, 3, H, W) that is prepared, normalised too [image]',
    )
    graphs.add_argument(
        '--output',
        choices=OUTPUTS,
        default='classes',
        help='class of each pixel (1, H, W), or logits (1, C, H, W) [classes]',
    )
    graphs.add_argument(
        '--opset', type=int, default=17, metavar='N', help='opset of ONNX [17]'
    )
    graphs.add_argument(
        '--image',
        metavar='FILE',
        help='image that the files are checked and timed on [a generated one]',
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


def check_options(args):
    """Refuse options that do nothing, and missing packages before anything is made."""
    if args.onnx:
        require_packages()
    if args.onnx or args.torchscript:
        return
    given = [
        option
        for option, value, default in (
            ('--size', args.size, None),
            ('--input', args.input, 'image'),
            ('--output', args.output, 'classes'),
            ('--opset', args.opset, 17),
            ('--image', args.image, None),
        )
        if value != default
    ]
    if given:
        raise ValueError(f'{", ".join(given)}: of --onnx and --torchscript, not given')


def refuse_files(exported, folder, suffixes, force):
    """Paths of the files to write, by suffix.

    Raises:
        FileExistsError: One of them is there, and not `force`.
    """
    paths = {one: Path(folder) / f'{exported.network}{one}' for one in suffixes}
    there = [str(path) for path in paths.values() if path.exists()]
    if there and not force:
        raise FileExistsError(f'{", ".join(there)}: --force overwrites')
    return paths


def write(exported, config, weights):
    """Write config and checkpoint."""
    with atomic_write(weights) as part:
        torch.save(plain_values(exported.checkpoint), part)
    with atomic_write(config) as part:
        Path(part).write_text(exported.config.pretty_text, encoding='utf-8')


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


def read_image(path):
    """RGB pixels of the image that the option names, None without one."""
    if path is None:
        return None
    launch.existing_file(path, '--image')
    decode_image(path)
    return mmcv.imread(path, channel_order='rgb')


def graphs(args, exported, paths, image):
    """Write ONNX and TorchScript, and say how they compare."""
    name = str(paths[next(iter(paths))].with_suffix('.pth'))
    predictor = Predictor(exported.config, exported.checkpoint, name)
    settings = Settings(args.size, args.input, args.output, args.opset)
    about = dict(network=exported.network, protocol=predictor.protocol)
    report_graphs(write_graphs(predictor, paths, settings, image, about), settings)


def report_graphs(found, settings):
    """Files, what they were compared with, and times."""
    height, width = settings.size or ('height', 'width')
    inputs = dict(
        image=f'RGB bytes (1, {height}, {width}, 3)',
        tensor=f'prepared (1, 3, {height}, {width})',
    )
    outputs = dict(
        classes=f'classes (1, {height}, {width})',
        logits=f'logits (1, classes, {height}, {width})',
    )
    said = f'{inputs[settings.inputs]} -> {outputs[settings.outputs]}'
    sizes = ' and '.join(f'{h} x {w}' for h, w in found.sizes)
    for file in found.files:
        print(f'{file.path}: {file.path.stat().st_size / 2**20:.1f} MiB, {said}')
        gap = (
            '' if file.difference is None else f', logits within {file.difference:.2g}'
        )
        print(
            f'  {file.runtime} on {sizes}: classes of torch at '
            f'{100 * file.pixels:.3f} % of the pixels{gap}'
        )
    if found.predicted is not None:
        print(
            '  prediction of the image file: the same at '
            f'{100 * found.predicted:.3f} % of the pixels'
        )
    height, width = found.sizes[0]
    threads = torch.get_num_threads()
    print(f'time of an image of {height} x {width}, CPU, {threads} threads, median:')
    for name, value in found.times.items():
        ratio = found.times['torch'] / value
        print(f'  {name:<12}{value:8.1f} ms  {ratio:5.2f} x the speed of torch')


def main(args):
    check_options(args)
    image = read_image(args.image)
    cfg = launch.read_config(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    content = read_checkpoint(args.checkpoint)
    if broken := describe_broken(dict(state_dict=content.get('state_dict'))):
        raise CheckpointError(f'{args.checkpoint} is of no use: {broken}')
    exported = export_network(cfg, content, args.network, args.inference_only)
    suffixes = ['.py', '.pth', *['.pt'] * args.torchscript, *['.onnx'] * args.onnx]
    paths = refuse_files(exported, args.out, suffixes, args.force)
    write(exported, paths['.py'], paths['.pth'])
    report(exported, paths['.py'], paths['.pth'])
    wanted = {suffix: paths[suffix] for suffix in suffixes[2:]}
    if wanted:
        graphs(args, exported, wanted, image)


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
