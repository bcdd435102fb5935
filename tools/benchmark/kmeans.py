"""K-means of generated features: its inertia beside scikit-learn's, or time and memory.

Each data set is clustered by both with as many runs, each with several seeds. `ratio`
is the worst inertia of this package over the best of scikit-learn: 1.01 is one percent
more.

`blobs` are 5 groups apart from each other, which other numbers of clusters do not fit;
`mixture` are 40 groups that overlap; `even` has no groups.

With --alone only this package runs, once, on features in half precision, and tells each
iteration. Memory is what the process took at most, beyond the features themselves.

scikit-learn is needed for the comparison (pip install -e ".[viz]").

examples:
  python tools/benchmark/kmeans.py --threads 2
  python tools/benchmark/kmeans.py --threads 2 --alone --rows 1000000 --runs 1
"""

import argparse
import time
from pathlib import Path

import torch
from torch import Generator, Tensor

from mmsemiseg.benchmark.process import forget_peak, peak_memory, use_device
from mmsemiseg.benchmark.report import surroundings, table, tell
from mmsemiseg.functional import kmeans
from mmsemiseg.utils.command import exit_with

KINDS = dict(blobs=(5, 3.0), mixture=(40, 0.3), even=(1, 0.0))  # groups, distance
CHUNK = 10000


def parse_args(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('--rows', type=int, default=50000, help='default: 50000')
    add('--dim', type=int, default=2048, help='default: 2048')
    add('--kinds', nargs='+', choices=KINDS, default=list(KINDS))
    add('--clusters', type=int, nargs='+', default=[2, 5, 10], help='default: 2 5 10')
    add('--runs', type=int, default=3, help='of each K-means; default: 3')
    add('--seeds', type=int, default=3, help='of each data set; default: 3')
    add('--iterations', type=int, default=100, help='at most; default: 100')
    add('--alone', action='store_true', help='the first kind and number of clusters')
    add('--threads', type=int, help='of PyTorch; default: its own choice')
    add('--out', type=Path, metavar='FILE', help='JSON of all figures')
    args = parser.parse_args(argv)
    numbers = [args.rows, args.dim, args.runs, args.seeds, args.iterations]
    if min(*numbers, *args.clusters) < 1:
        parser.error('all numbers must be at least 1')
    return args


def features(kind: str, rows: int, dim: int, dtype: torch.dtype) -> Tensor:
    """Rows (n, D) around the middles of groups, which are filled in turn."""
    groups, distance = KINDS[kind]
    generator = Generator().manual_seed(0)
    middles = distance * torch.randn(groups, dim, generator=generator)
    found = torch.empty(rows, dim, dtype=dtype)
    for start in range(0, rows, CHUNK):
        number = torch.arange(start, min(start + CHUNK, rows))
        noise = torch.randn(len(number), dim, generator=generator)
        found[number[0] : number[-1] + 1] = middles[number % groups] + noise
    return found


def compare(args: argparse.Namespace) -> tuple[list[str], list[list], dict]:
    """Inertia of both, for each data set and number of clusters."""
    from sklearn.cluster import KMeans

    lines, figures = [], []
    for kind in args.kinds:
        rows = features(kind, args.rows, args.dim, torch.float32)
        for k in args.clusters:
            ours, theirs, seconds = [], [], [0.0, 0.0]
            for seed in range(args.seeds):
                start = time.perf_counter()
                found = kmeans(rows, k, args.iterations, seed, args.runs)
                middle = time.perf_counter()
                other = KMeans(
                    k, n_init=args.runs, max_iter=args.iterations, random_state=seed
                ).fit(rows.numpy())
                end = time.perf_counter()
                ours.append(found.inertia)
                theirs.append(float(other.inertia_))
                seconds[0] += middle - start
                seconds[1] += end - middle
            ratio = max(ours) / min(theirs)
            others = max(theirs) / min(theirs)
            cells = f'{ratio:.5f}', f'{others:.5f}'
            times = [f'{one / args.seeds:.1f}' for one in seconds]
            lines.append([kind, k, *cells, *times])
            figures.append(dict(kind=kind, clusters=k, ours=ours, theirs=theirs))
            print(*lines[-1], flush=True)
    head = ['features', 'K', 'ratio', "scikit-learn's own", 's', "scikit-learn's s"]
    return head, lines, dict(figures=figures)


def run_alone(args: argparse.Namespace) -> tuple[list[str], list[list], dict]:
    """Time and memory of one K-means."""
    kind, k = args.kinds[0], args.clusters[0]
    rows = features(kind, args.rows, args.dim, torch.float16)
    forget_peak()
    before, start = peak_memory(), time.perf_counter()

    def progress(iteration: int, inertia: float) -> None:
        spent = time.perf_counter() - start
        print(
            f'iteration {iteration}: {spent:.0f} s, inertia {inertia:.6g}', flush=True
        )

    found = kmeans(rows, k, args.iterations, 0, args.runs, progress=progress)
    seconds, memory = time.perf_counter() - start, peak_memory() - before
    own = rows.numel() * rows.element_size() / 2**20
    head = ['features', 'K', 'rows', 'MiB of the rows', 'MiB beyond', 's', 'inertia']
    line = [kind, k, args.rows, round(own), round(memory), round(seconds)]
    figures = dict(seconds=seconds, memory=memory, inertia=found.inertia)
    return head, [[*line, f'{found.inertia:.6g}']], figures


def main(argv=None) -> int:
    args = parse_args(argv)
    use_device('cpu', args.threads)
    head, lines, figures = run_alone(args) if args.alone else compare(args)
    about = surroundings(None, 0, 'cpu')
    settings = {k: v for k, v in vars(args).items() if k != 'out'}
    tell(about, table(head, lines), dict(settings=settings, **figures), args.out)
    return 0


if __name__ == '__main__':
    exit_with(main)
