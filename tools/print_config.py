"""Print the config that a run would have, with everything that it inherits.

A KEY limits it to some settings, such as model.student or custom_hooks.0. With
--sources each value is in a line of its own, with the file and the line that it is
written in.

examples:
  python tools/print_config.py configs/cac/cac_pspnet-r50_voc-aug-1-8.py
  python tools/print_config.py cac_pspnet-r50_voc-aug-1-8.py model train_cfg --sources
  python tools/print_config.py my_config.py model --cfg-options model.mix=None
"""

import argparse

from mmengine.config import Config, DictAction

from mmsemiseg.utils import launch
from mmsemiseg.utils.config_parts import dotted, entries, find_part, parts
from mmsemiseg.utils.config_sources import ConfigFile, lookup


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('config', help='a file, or the name of a config of mmsemiseg')
    parser.add_argument(
        'keys', nargs='*', metavar='KEY', help='print these settings only'
    )
    parser.add_argument(
        '--sources', action='store_true', help='where each value is written'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    return parser.parse_args(argv)


def as_text(path, value):
    """`model.student = dict(...)`, laid out as mmengine dumps configs."""
    above = path[:-1] if isinstance(path[-1], str) else path
    name = path[-1] if isinstance(path[-1], str) else 'entry'
    text = Config({name: value}).pretty_text.strip()
    if above is path:
        return dotted(path) + text.removeprefix(name)
    return '.'.join(filter(None, [dotted(above), text]))


def source_lines(path, value, find):
    """One line for each value in a part."""
    values = {(): value} if not entries(value) else parts(value)
    for below, one in values.items():
        if not entries(one):
            full = (*path, *below)
            yield f'{dotted(full)} = {one!r}  # {find(full, one)}'


def main(args):
    file = launch.find_config(args.config)
    cfg = launch.read_config(file)
    written = cfg.to_dict()
    launch.merge_options(cfg, args.cfg_options)
    values = cfg.to_dict()
    if args.keys:
        chosen = [find_part(values, key) for key in args.keys]
    else:
        chosen = [((key,), value) for key, value in values.items()]
    if not args.sources:
        for path, value in chosen:
            print(as_text(path, value))
        return
    config = ConfigFile(file)

    def find(path, value):
        if lookup(written, path) != value:
            return '--cfg-options'
        return config.source(path)

    for path, value in chosen:
        print('\n'.join(source_lines(path, value, find)))


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
