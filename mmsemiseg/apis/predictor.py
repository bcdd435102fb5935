"""A network of a checkpoint, ready to predict."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import NamedTuple

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import Tensor, nn

from ..engine.checkpoints import require_fit
from ..evaluation.protocol import describe_protocol
from ..models.head_rules import rule_of
from ..utils.pretrained import without_pretrained
from ..utils.settings import check_choices
from ..utils.tool_settings import complete_config
from ..utils.tta import augmented, step_types, without_masks
from .image_items import Item

TTA = ('flip', 'scales')
EVALUATION_ONLY = ('CenterCropEval',)  # they leave a part of the image out


class Prediction(NamedTuple):
    """Predicted classes of an image at its original size.

    Attributes:
        label: Class indices (H, W).
        probs: Probabilities (C, H, W); None where nobody asked for them.
    """

    label: Tensor
    probs: Tensor | None


class Predictor:
    """A network that predicts images, with the test pipeline of its config.

    Args:
        cfg: Config of the run that wrote the checkpoint, or of a plain segmentor.
        content: Content of the checkpoint.
        path: Path of the checkpoint, for messages.
        network: Name of a network of the method, or of a mean, as ``predict_with``;
            None: that of the config.
        device: Device of the network.
        tta: Test-time augmentation: ``'flip'`` averages over the image and its mirror
            image, ``'scales'`` over several sizes and flips; None: neither.
        window: Height and width of a sliding window, with a stride of two thirds of
            it; ``'config'`` slides as the config says; ``'whole'`` takes the image at
            once; None: as the config's ``test_cfg``.

    Raises:
        CheckpointError: The weights are not of this model.
        ValueError: A setting is none that the config or the model allows.
    """

    def __init__(
        self,
        cfg: Config,
        content: Mapping,
        path: str,
        network: str | None = None,
        device: str = 'cpu',
        tta: str | None = None,
        window: 'tuple[int, int] | str | None' = None,
    ) -> None:
        _check_device(device)
        cfg = Config(cfg.to_dict())
        if not isinstance(cfg.get('model'), Mapping):
            raise ValueError('the config has no model')
        init_default_scope(cfg.get('default_scope') or 'mmseg')
        model = MODELS.build(ConfigDict(without_pretrained(cfg.model)))
        require_fit(model, content, path, strict=True)
        model.load_state_dict(_weights(content), strict=False)  # require_fit was
        if torch.device(device).type == 'cpu':
            model = revert_sync_batchnorm(model)
        self.model = model.to(device).eval()
        self.network = self._chosen(network)
        self._set_window(window, cfg)
        self.meta = dict((content.get('meta') or {}).get('dataset_meta') or {})
        if not self.meta.get('classes'):
            raise ValueError(f'{path} does not name its classes (meta.dataset_meta)')
        self.pipeline = Compose(_pipeline(cfg, tta))

    @property
    def protocol(self) -> str:
        """How images are prepared and predicted, in words."""
        return describe_protocol(SimpleNamespace(pipeline=self.pipeline), self.model)

    @property
    def segmentors(self) -> list[nn.Module]:
        """All networks of the method, or the plain segmentor."""
        return list(getattr(self.model, 'networks', dict(plain=self.model)).values())

    def _chosen(self, network: str | None) -> str | None:
        kind = type(self.model).__name__
        if not hasattr(self.model, 'predict_as'):
            if network is not None:
                raise ValueError(f'--network {network}: {kind} is one network, plain')
            return None
        known = [*self.model.networks, *self.model.pairs.means]
        network = network or self.model.predict_with
        check_choices(**{f'network of {kind}': (network, known)})
        return network

    def _set_window(self, window: 'tuple[int, int] | str | None', cfg: Config) -> None:
        if window is None:
            return
        for segmentor in self.segmentors:
            own = dict(segmentor.test_cfg or {})
            if window == 'whole':
                segmentor.test_cfg = ConfigDict(mode='whole')
                continue
            size = window
            if window == 'config':
                size = own.get('crop_size') or cfg.get('crop_size')
            if not size:
                raise ValueError(
                    '--slide: neither test_cfg nor crop_size of the config has the '
                    'size of a window. Name it: --slide 512'
                )
            stride = own.get('stride') if window == 'config' else None
            stride = stride or [max(1, side * 2 // 3) for side in size]
            segmentor.test_cfg = ConfigDict(mode='slide', crop_size=size, stride=stride)

    @torch.no_grad()
    def __call__(self, items: Sequence[Item], probs: bool = False) -> list[Prediction]:
        """Predict images of equal sizes.

        Args:
            probs: Whether the probabilities are asked for.
        """
        total = None
        for number in range(len(items[0].inputs)):
            batch = dict(
                inputs=[item.inputs[number] for item in items],
                data_samples=[item.samples[number] for item in items],
            )
            found = self._samples(self.model.data_preprocessor(batch, False))
            if len(items[0].inputs) == 1 and not probs:
                return [Prediction(one.pred_sem_seg.data[0], None) for one in found]
            parts = [self._probs(one.seg_logits.data) for one in found]
            total = parts if total is None else list(map(torch.add, total, parts))
        means = [part / len(items[0].inputs) for part in total]
        if len(items[0].inputs) == 1:
            labels = [sample.pred_sem_seg.data[0] for sample in found]
        else:
            labels = map(self._label, means)
        return [Prediction(*pair) for pair in zip(labels, means, strict=True)]

    def _samples(self, data: dict) -> list:
        inputs, samples = data['inputs'], data['data_samples']
        if self.network is None:
            return self.model.predict(inputs, samples)
        return self.model.predict_as(self.network, inputs, samples)

    def _probs(self, logits: Tensor) -> Tensor:
        """Probabilities (C, H, W) of ``seg_logits`` of a data sample."""
        if logits.shape[0] == 1:  # MMSegmentation has taken the sigmoid already
            return torch.cat([1 - logits, logits]).float()
        networks = getattr(self.model, 'networks', {})
        if self.network is None or self.network in networks:
            segmentor = networks.get(self.network, self.model)
            logits = _logits(segmentor, logits[None])[0]
        return logits.float().softmax(0)

    def _label(self, probs: Tensor) -> Tensor:
        segmentor = self.segmentors[0]
        if segmentor.out_channels == 1:
            return (probs[1] > segmentor.decode_head.threshold).long()
        return probs.argmax(0)


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f'--device {device} cannot be used: {reason}') from error


def _weights(content: Mapping) -> OrderedDict:
    given = content.get('state_dict', content)
    weights = OrderedDict(
        (str(name).removeprefix('module.'), value) for name, value in given.items()
    )
    weights._metadata = getattr(given, '_metadata', {})
    return weights


def _logits(segmentor: nn.Module, prediction: Tensor) -> Tensor:
    """The logits of a prediction; heads that classify masks give scores."""
    try:
        rule = rule_of(segmentor)
    except (TypeError, ValueError):  # a plain segmentor with a head of its own
        return prediction
    return rule.logits_of_prediction(prediction)


def _pipeline(cfg: Config, tta: str | None) -> list:
    """The test pipeline without masks, augmented if asked for."""
    complete_config(cfg)
    steps = cfg.get('test_pipeline')
    if not steps:
        raise ValueError(
            'the config has no test_pipeline, and no test or validation data with a '
            'pipeline: it does not say how an image is prepared'
        )
    steps = [dict(s) for s in without_masks(steps) if s['type'] not in EVALUATION_ONLY]
    if tta is None:
        return steps
    check_choices(tta=(tta, TTA))
    if 'TestTimeAug' in step_types(steps):
        raise ValueError(f'--tta {tta}: the test pipeline augments already')
    if tta == 'flip':
        return augmented(steps, scales=(1.0,))
    own = cfg.get('tta_pipeline')
    return without_masks(own) if own else augmented(steps)
