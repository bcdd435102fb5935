"""Plots of matplotlib, which need no screen."""

from pathlib import Path


def new_plot(columns: int = 1, rows: int = 1, size: tuple = (5, 3.2)):
    """Figure and axes of matplotlib, which needs no screen."""
    import matplotlib

    matplotlib.use('Agg')
    import matplotlib.pyplot as plt

    width, height = size
    shape = (width * columns, height * rows)
    return plt.subplots(rows, columns, figsize=shape, dpi=120, layout='constrained')


def save_plot(figure, path: Path) -> None:
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    plt.close(figure)
