"""Layer-wise learning rates for the students of a method."""

import copy
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmseg.engine.optimizers import LearningRateDecayOptimizerConstructor
from mmseg.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from ..utils.quiet import LAYER_PRINTS, without_prints


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StudentConstructor(DefaultOptimWrapperConstructor):
    """Applies an optimizer constructor for plain segmentors to each student.

    So the layers of a student have the learning rates that those of a plain segmentor
    would have. All other parameters, such as those of a projector, have the base rate.
    ``SemiRunner`` uses it by itself for MMSegmentation's layer-wise decay; for another
    constructor that reads ``model.backbone`` name it in ``paramwise_cfg``::

        constructor='StudentConstructor',
        paramwise_cfg=dict(constructor='MyConstructor', decay_rate=0.9)

    Args:
        optim_wrapper_cfg: Config of the optimizer wrapper.
        paramwise_cfg: Name of the wrapped constructor as ``constructor``, and its
            settings.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict) -> None:
        inner = dict(paramwise_cfg or {})
        if 'constructor' not in inner:
            raise ValueError(
                'paramwise_cfg of StudentConstructor must name the constructor that '
                f"it runs as 'constructor', but has {sorted(inner)}"
            )
        self.name = inner.pop('constructor')
        super().__init__(optim_wrapper_cfg, paramwise_cfg)
        self.inner = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(
                type=self.name,
                optim_wrapper_cfg=copy.deepcopy(optim_wrapper_cfg),
                paramwise_cfg=inner,
            )
        )

    def add_params(self, params: list[dict], module: nn.Module, **kwargs) -> None:
        """Append the groups of every student, then one of all other parameters."""
        for index, pair in enumerate(module.pairs):
            groups: list[dict] = []
            try:
                with without_prints(LAYER_PRINTS):
                    self.inner.add_params(groups, pair.student, **kwargs)
            except NotImplementedError as error:
                raise ValueError(
                    f'optim_wrapper.constructor {self.name} does not know the layers '
                    f'of the backbone {type(pair.student.backbone).__name__} of '
                    f'student {index}: MMSegmentation has layer-wise decay for '
                    "ConvNeXt, BEiT and MAE, and decay_type='stage_wise' for ConvNeXt"
                ) from error
            place = f'pairs.{index}.student.'
            for group in groups:
                if 'param_names' in group:
                    group['param_names'] = [place + n for n in group['param_names']]
            params.extend(groups)
        others = _others(params, module)
        if others['params']:
            params.append(others)


def _others(groups: list[dict], model: nn.Module) -> dict:
    """A group of the parameters that are in none; names only if the others have."""
    placed = {id(param) for group in groups for param in group['params']}
    trained = {id(p) for p in model.parameters() if p.requires_grad} - placed
    named = {name: p for name, p in model.named_parameters() if id(p) in trained}
    group = dict(params=list(named.values()), group_name='others')
    if any('param_names' in other for other in groups):
        group['param_names'] = list(named)
    return group


def by_student(optim_wrapper: Any, model: nn.Module) -> Any:
    """The config of an optimizer wrapper, changed for layer-wise rates of students.

    Args:
        optim_wrapper: Config of the optimizer wrapper, or whatever a runner is given.
            Only a config with MMSegmentation's layer-wise decay, or a subclass of it,
            is changed, and it is copied first.
        model: Model that is trained; one without pairs of networks is no method.
    """
    kind = optim_wrapper.get('constructor') if isinstance(optim_wrapper, dict) else None
    found = OPTIM_WRAPPER_CONSTRUCTORS.get(kind) if isinstance(kind, str) else kind
    layerwise = LearningRateDecayOptimizerConstructor
    if not (isinstance(found, type) and issubclass(found, layerwise)):
        return optim_wrapper
    if not hasattr(model, 'pairs'):
        return optim_wrapper
    changed = copy.deepcopy(optim_wrapper)
    changed['paramwise_cfg'] = dict(changed.get('paramwise_cfg') or {})
    changed['paramwise_cfg']['constructor'] = kind
    changed['constructor'] = StudentConstructor.__name__
    return changed
