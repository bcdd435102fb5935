"""Report on runs as one HTML file: scores, curves, warnings, and what it was worth.

Give the work folders of a method and of the same labels alone, and of the labels alone
at other numbers of labels where there are such runs; a folder of several runs (seeds,
methods) stands for all of them. The file needs nothing else, so it can be sent. With
--draw the last checkpoint of each run is read, too, for pictures of what its networks
say of validation and unlabeled images, of their features, and for its memory banks.

examples:
  python tools/report.py work_dirs/mine work_dirs/mine_sup-only
  python tools/report.py MeanTeacher=work_dirs/mt SupOnly=work_dirs/sup --out mt.html
  python tools/report.py work_dirs/quickstart --draw
"""

import argparse
import runpy
from pathlib import Path

import mmsemiseg  # noqa: F401  (configs name its modules)
from mmsemiseg.engine.checkpoints import CheckpointError, read_checkpoint
from mmsemiseg.reporting import banks_of, find_runs, read_run, write_report
from mmsemiseg.utils import launch
from mmsemiseg.visualization import run_pictures

EMBED = Path(__file__).resolve().parent / 'analysis_tools' / 'embed_features.py'
DRAWING_ERRORS = (*launch.SETTING_ERRORS, CheckpointError, RuntimeError)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='RUN',
        help='work folder of a run, or of several; NAME=FOLDER gives it a name',
    )
    parser.add_argument(
        '--out', metavar='FILE', help='file to write [report.html in the first folder]'
    )
    parser.add_argument('--title', help='title of the report')
    parser.add_argument(
        '--pictures',
        type=int,
        default=6,
        metavar='N',
        help='pictures of a run at most, those in overlays/ or vis_data/vis_image [6]',
    )
    parser.add_argument(
        '--draw',
        action='store_true',
        help='predict with the last checkpoint of each run and draw validation images, '
        'pseudo labels and features; half a minute a run on a CPU',
    )
    parser.add_argument(
        '--debug', action='store_true', help='print the traceback of every error'
    )
    return parser.parse_args(argv)


def read_runs(words):
    """Runs by what the command line names, each folder once."""
    found = {}
    for word in words:
        name, named, folder = word.partition('=')
        if not named or Path(word).is_dir():
            name, folder = '', word
        folders = find_runs(folder)
        for path in folders:
            inner = path.relative_to(folder).as_posix() if path != Path(folder) else ''
            top = name or (Path(folder).resolve().name if not inner else '')
            label = '/'.join(part for part in (top, inner) if part)
            found.setdefault(path.resolve(), read_run(path, label))
    return list(found.values())


def drawn(run, count):
    """The run with pictures of its last checkpoint; what cannot be drawn is said."""
    out = run.folder / run_pictures.FOLDER
    try:
        network = run_pictures.load_run(run.folder)
        content = read_checkpoint(run_pictures.last_checkpoint(run.folder))
        run = run._replace(banks=banks_of(content))
    except DRAWING_ERRORS as error:
        print(f'{run.name}: nothing is drawn: {error}')
        return run
    steps = {
        'colours of classes': lambda: run_pictures.write_colours(network, out),
        'validation images': lambda: run_pictures.draw_validation(network, out, count),
        'pseudo labels': lambda: run_pictures.draw_pseudo_labels(network, out, count),
        'features': lambda: _features(run.folder, out),
    }
    for name, step in steps.items():
        try:
            step()
        except DRAWING_ERRORS as error:
            print(f'{run.name}: no {name}: {error}')
    return read_run(run.folder, run.name)._replace(banks=run.banks)


def _features(folder, out):
    words = run_pictures.features_command(folder, out, count=16)
    runpy.run_path(str(EMBED))['main'](words)


def main(args):
    if args.pictures < 0:
        raise ValueError(f'--pictures must be at least 0, but got {args.pictures}')
    runs = read_runs(args.runs)
    if args.draw:
        runs = [drawn(run, max(args.pictures, 1)) for run in runs]
    first = args.runs[0].partition('=')
    folder = first[2] if first[1] and not Path(args.runs[0]).is_dir() else args.runs[0]
    out = Path(args.out or Path(folder) / 'report.html')
    title = args.title or f'Report: {", ".join(dict.fromkeys(r.name for r in runs))}'
    if len(title) > 120:
        title = f'Report of {len(runs)} runs'
    if out.is_dir():
        raise ValueError(f'--out {out} is a folder: name a file')
    print('\n'.join(write_report(runs, out, title, args.pictures)))
    print(f'{out}: {out.stat().st_size / 1024:.0f} KiB')


if __name__ == '__main__':
    arguments = parse_args()
    launch.run_tool(lambda: main(arguments), arguments.debug)
