"""What a model and its metrics expect of the labels, under the names of settings."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mmseg.registry import METRICS
from torch import nn


class ModelSettings(NamedTuple):
    """``classes``: how many classes a head tells; ``ignored``: the ignored label.

    Both by the setting that says so (``model.student.decode_head``).
    """

    classes: dict[str, int] = {}  # noqa: RUF012 (never changed)
    ignored: dict[str, int] = {}  # noqa: RUF012

    def without_test(self) -> 'ModelSettings':
        """The settings that matter where nothing is tested."""
        kept = {k: v for k, v in self.ignored.items() if not k.startswith('test_')}
        return self._replace(ignored=kept)


def model_settings(
    model: nn.Module | None, evaluators: Mapping[str, Any] | None = None
) -> ModelSettings:
    """Settings of a method, or of a plain segmentor of MMSegmentation.

    Args:
        model: The model without a wrapper such as DDP. None: settings of the evaluators
            alone.
        evaluators: Evaluators, metrics or their configs by the name of their setting.
    """
    classes, ignored = {}, {}
    for path, head in _heads(model):
        if hasattr(head, 'boundary_threshold'):
            continue  # STDC's head of boundaries knows no classes
        if isinstance(number := getattr(head, 'num_classes', None), int):
            # One sigmoid tells two classes, whatever num_classes says
            classes[path] = 2 if getattr(head, 'out_channels', 0) == 1 else number
        _note(ignored, f'{path}.ignore_index', getattr(head, 'ignore_index', None))
        for index, loss in enumerate(_as_list(getattr(head, 'loss_decode', None))):
            if not _is_told(loss):
                name = f'{path}.loss_decode[{index}].ignore_index'
                _note(ignored, name, getattr(loss, 'ignore_index', None))
    preprocessor = getattr(model, 'data_preprocessor', None)
    padding = getattr(preprocessor, 'seg_pad_val', None)
    _note(ignored, 'model.data_preprocessor.seg_pad_val', padding)
    for name, evaluator in (evaluators or {}).items():
        for metric in _as_list(getattr(evaluator, 'metrics', evaluator)):
            kind, value = _metric(metric)
            _note(ignored, f'{name} ({kind}).ignore_index', value)
    return ModelSettings(classes, ignored)


def _heads(model: nn.Module | None) -> Iterator[tuple[str, nn.Module]]:
    """(setting, head) of each head that is trained; teachers are copies."""
    pairs = getattr(model, 'pairs', None)
    student = getattr(model, 'student', None) if pairs is not None else model
    place = 'model' if pairs is None else 'model.student'
    for kind in ('decode_head', 'auxiliary_head'):
        head = getattr(student, kind, None)
        if isinstance(head, nn.ModuleList):
            for index, part in enumerate(head):
                yield f'{place}.{kind}[{index}]', part
        elif head is not None:
            yield f'{place}.{kind}', head


def _is_told(loss: nn.Module) -> bool:
    """Whether a loss takes the ignored label from its head."""
    parameters = inspect.signature(loss.forward).parameters
    return 'ignore_index' in parameters


def _metric(metric: Any) -> tuple[str, Any]:
    """(type, ignored label) of a metric, or of its config."""
    if not isinstance(metric, Mapping):
        return type(metric).__name__, getattr(metric, 'ignore_index', None)
    kind = metric.get('type')
    built = METRICS.get(kind) if isinstance(kind, str) else kind
    name = getattr(built, '__name__', str(kind))
    if built is None or 'ignore_index' in metric:
        return name, metric.get('ignore_index')
    default = inspect.signature(built).parameters.get('ignore_index')
    return name, default.default if default is not None else None


def _note(found: dict[str, int], name: str, value: Any) -> None:
    if isinstance(value, int) and not isinstance(value, bool):
        found[name] = value


def _as_list(value: Any) -> list:
    if value is None:
        return []
    several = isinstance(value, Iterable) and not isinstance(value, (Mapping, str))
    return list(value) if several else [value]
