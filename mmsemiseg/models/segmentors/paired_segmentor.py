"""A segmentor made of pairs of student and teacher: all but its training."""

from abc import ABCMeta
from contextlib import ExitStack
from inspect import Signature, signature

import torch
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from ...utils.preprocessor import semi_preprocessor
from ...utils.pretrained import check_pretrained, explain_failed_download
from ...utils.pretrained_fit import fitting_pretrained
from ..adapter import HeadRule, SegmentorAdapter
from ..batch_sizes import check_batch_sizes
from ..head_rules import check_head_config
from ..parts import check_settings
from ..student import build_student
from .pair import Pair
from .pair_list import PairList, make_pair


class _Buildable(ABCMeta):
    """Checks the settings of a method before it is built.

    A setting that the method does not have is an error that says where it belongs.
    ``pretrained=None`` and ``train_cfg=None``, which mmseg's ``init_model`` writes into
    the config of any model, are dropped.
    """

    @property
    def __signature__(cls) -> Signature:
        """The settings of a method, for editors and the documentation."""
        _, *settings = signature(cls.__init__).parameters.values()
        return Signature(settings)

    def __call__(cls, *args, **settings):
        for name in ('pretrained', 'train_cfg'):
            if settings.get(name, 0) is None:
                del settings[name]
        check_settings(cls, settings)
        return super().__call__(*args, **settings)


class PairedSegmentor(BaseSegmentor, metaclass=_Buildable):
    """Pairs of student and teacher: networks, prediction, EMA and checkpoints.

    The settings are those of :class:`SemiSegmentor`, which trains them.

    Attributes:
        default_network: Kind of the network that predicts where ``predict_with`` is
            None, ``'student'`` or ``'teacher'``; a method says its own.
    """

    default_network = 'student'

    def __init__(
        self,
        student: dict,
        teacher: dict | None = None,
        feature: str | int | None = None,
        predict_with: str | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        num_pairs: int = 1,
        load_heads: bool = True,
    ) -> None:
        if not isinstance(num_pairs, int) or num_pairs < 1:
            raise ValueError(f'num_pairs must be an integer >= 1, but got {num_pairs}')
        student = dict(student)
        own_preprocessor = student.pop('data_preprocessor', None)
        preprocessor = semi_preprocessor(data_preprocessor, own_preprocessor)
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        check_head_config(student)
        check_pretrained(student, 'model.student')
        self.student_cfg = student
        self.teacher_cfg = teacher
        students = [build_student(student) for _ in range(num_pairs)]
        self.adapter = SegmentorAdapter(students[0], feature=feature)
        self.pairs = PairList([self.make_pair(one) for one in students])
        self.load_heads = load_heads
        predict_with = predict_with or self.pairs.numbered(self.default_network, 0)
        self._check_predict_with(predict_with)
        self.predict_with = predict_with
        self._register_load_state_dict_pre_hook(self._load_plain_checkpoint)

    def _check_predict_with(self, name: str) -> None:
        allowed = [*self.networks, *self.pairs.means]
        if name not in allowed:
            raise ValueError(
                f'predict_with of {type(self).__name__} must be in {allowed}, '
                f'but got {name!r}'
            )

    def make_pair(self, module: nn.Module) -> Pair:
        """A module, with an EMA copy if the method has a teacher."""
        return make_pair(module, self.teacher_cfg)

    # Networks

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Name -> segmentor, students first."""
        return self.pairs.networks

    @property
    def student(self) -> nn.Module:
        return self.pairs[0].student

    @property
    def teacher(self) -> nn.Module | None:
        return self.pairs[0].teacher

    @property
    def num_classes(self) -> int:
        return self._main_head().num_classes

    @property
    def out_channels(self) -> int:
        """Channels of the logits, which MMSegmentation's ``SegTTAModel`` asks for."""
        return self._main_head().out_channels

    @property
    def ignore_index(self) -> int:
        return self._main_head().ignore_index

    @property
    def align_corners(self) -> bool:
        return self._main_head().align_corners

    def _main_head(self) -> nn.Module:
        head = self.student.decode_head
        return head[-1] if isinstance(head, nn.ModuleList) else head

    def parameters(self, recurse: bool = True):
        """All parameters but the teachers', which no optimizer may change."""
        frozen = self._frozen()
        return (p for p in super().parameters(recurse) if id(p) not in frozen)

    def _frozen(self) -> set[int]:
        teachers = [pair.teacher for pair in self._followed()]
        return {id(p) for teacher in teachers for p in teacher.parameters()}

    def _followed(self) -> list[Pair]:
        """Pairs with a teacher: of networks, and of the heads of components."""
        parts = [part for part in self.children() if hasattr(part, 'head_pairs')]
        heads = [pair for part in parts for pair in part.head_pairs]
        return [pair for pair in [*self.pairs, *heads] if pair.teacher is not None]

    def init_weights(self) -> None:
        cfg, name = self.student_cfg, 'model.student'
        with explain_failed_download(cfg, name), ExitStack() as stack:
            for pair in self.pairs:
                stack.enter_context(fitting_pretrained(pair.student, cfg, name))
            super().init_weights()

    def check_batch_sizes(self, sizes: dict[str, int]) -> None:
        """Refuse batch sizes that a BatchNorm of the networks cannot train with."""
        check_batch_sizes(self, sizes)

    # Teachers and checkpoints

    @property
    def has_teachers(self) -> bool:
        return bool(self._followed())

    @property
    def teacher_updates(self) -> int:
        """Number of EMA updates since the teachers were copies of their students."""
        return max(pair.steps for pair in self.pairs)

    def copy_to_teacher(self, restart: bool = True) -> None:
        """Make each teacher a full copy of its student, BatchNorm statistics included.

        With ``restart`` the updates of the teachers count from 0 again.
        """
        for pair in self._followed():
            pair.copy_to_teacher(restart)

    def update_teacher(self, decay: float) -> None:
        """One EMA update of each teacher."""
        for pair in self._followed():
            pair.update_teacher(decay)

    def _load_plain_checkpoint(self, state: dict, prefix: str, *args) -> None:
        self.pairs.fill_from_plain(state, prefix, self.load_heads)

    # Prediction

    def predict_as(self, name: str, inputs: Tensor, data_samples: list | None) -> list:
        """Predictions of one network, or of a mean, as mmseg data samples."""
        networks = self.networks
        if name in networks:
            return networks[name].predict(inputs, data_samples)
        metas = _metas(inputs, data_samples)
        found = [net.inference(inputs, metas) for net in self.pairs.means[name]]
        probs = [_probs(self.adapter.rule.logits_of_prediction(one)) for one in found]
        logits = torch.stack(probs).mean(0).clamp_min(1e-12).log()
        return self.student.postprocess_result(logits, data_samples)

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        return self.predict_as(self.predict_with, inputs, data_samples)

    def extract_feat(self, inputs: Tensor):
        return self._predictor().extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list) -> Tensor:
        return self._predictor().encode_decode(inputs, batch_img_metas)

    def _forward(self, inputs: Tensor, data_samples: list | None = None):
        network = self._predictor()
        if isinstance(self.adapter.rule, HeadRule):
            return network._forward(inputs, data_samples)
        return self.adapter(network, inputs).logits  # these heads need more than maps

    def _predictor(self) -> nn.Module:
        networks = self.networks
        if self.predict_with not in networks:
            raise ValueError(
                f'predict_with={self.predict_with!r} gives predictions alone: for '
                f'features or raw logits it must be in {list(networks)}'
            )
        return networks[self.predict_with]


def _metas(inputs: Tensor, data_samples: list | None) -> list[dict]:
    if data_samples is not None:
        return [sample.metainfo for sample in data_samples]
    shape = tuple(inputs.shape[2:])
    meta = dict(ori_shape=shape, img_shape=shape, pad_shape=shape, padding_size=[0] * 4)
    return [meta] * inputs.shape[0]


def _probs(logits: Tensor) -> Tensor:
    """Probabilities of logits (N, C, H, W); by a sigmoid for one channel."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
