"""Arguments of the tools for figures."""

import argparse
import re

from .networks import SHAPE


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('networks', nargs='+', metavar=SHAPE)
    parser.add_argument(
        '--device', help='device, such as cpu or cuda:1 [an accelerator]'
    )


def feature_name(text: str) -> str | int:
    """The type of an argument ``--feature``."""
    return int(text) if re.fullmatch(r'-?\d+', text) else text


def add_image_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    group = parser.add_argument_group('images')
    group.add_argument(
        '--images',
        nargs='+',
        metavar='PATH',
        help=f'folders, patterns, .txt lists or images [{default}]',
    )
    group.add_argument('--image-dir', help='folder of the names in lists')
    group.add_argument(
        '--masks',
        metavar='DIR',
        help='folder of masks; that of a/b/1.jpg is a/b/1.png, b/1.png or 1.png in it',
    )
    group.add_argument(
        '--mask-suffix', default='.png', help='end of the names of masks [.png]'
    )
    group.add_argument(
        '--count',
        type=int,
        default=8,
        help='number of images, drawn at random [%(default)s]',
    )
    group.add_argument('--seed', type=int, default=0, help='seed of the draw [0]')
