"""Names of classes, and of those of which a memory bank has too few rows."""

from ...utils.model import unwrap


def describe_unready(runner) -> str:
    """Name the classes with too few rows in the model's memory; '' if there is none."""
    model = unwrap(runner.model)
    unready = model.unready_classes() if hasattr(model, 'unready_classes') else ()
    if not unready:
        return ''
    names = class_names(runner, model.num_classes)
    listed = ', '.join(f'{names[k]!r} ({k})' for k in unready)
    kind = type(model).__name__
    return f'the memory of {kind} has too few rows of the classes {listed}'


def class_names(runner, num_classes: int) -> list[str]:
    """Class names of the labeled data set, or numbers if it has no names."""
    meta = getattr(runner.train_dataloader.dataset, 'metainfo', None) or {}
    names = list(meta.get('classes') or ())
    return names if len(names) == num_classes else [str(k) for k in range(num_classes)]
