"""Base of all semi-supervised methods."""

from abc import ABCMeta, abstractmethod
from contextlib import ExitStack

import torch
from mmengine.logging import MessageHub
from mmengine.model import ModuleList
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from ...functional import ramp_up
from ...utils.preprocessor import semi_preprocessor
from ...utils.pretrained import check_pretrained, explain_failed_download
from ...utils.pretrained_fit import fitting_pretrained
from ..adapter import HeadRule, SegmentorAdapter
from ..batch_sizes import check_batch_sizes
from ..data_preprocessor import Batch
from ..head_rules import check_head_config
from ..student import build_student, check_labels
from .pair import Pair


class _Buildable(ABCMeta):
    """Drops the empty settings that mmseg's ``init_model`` writes into any model."""

    def __call__(cls, *args, **settings):
        for name in ('pretrained', 'train_cfg'):
            if settings.get(name, 0) is None:
                del settings[name]
        return super().__call__(*args, **settings)


class SemiSegmentor(BaseSegmentor, metaclass=_Buildable):
    """Base of all methods: supervised losses plus a loss on unlabeled images.

    Holds a student, any segmentor of MMSegmentation, and perhaps its EMA teacher.
    Subclasses implement :meth:`unsupervised_loss`; the supervised losses are those of
    the student's own heads. ``loss()`` changes no saved state: teachers, banks and
    windows are updated after the optimizer step, each by one method that a hook calls.

    Args:
        student: Config of the segmentor that is trained, any of mmseg.
        teacher: Settings of the EMA teacher, ``dict(mode=..., buffers=...)`` of the
            :class:`Pair`; None for a method without teacher.
        feature: Layer whose features the method reads (see :class:`SegmentorAdapter`);
            None if it needs none.
        predict_with: Network for prediction and testing: a name of ``networks``, or
            ``'mean'``, ``'mean_students'`` or ``'mean_teachers'`` for the mean of their
            probabilities.
        num_pairs: Number of pairs of student and teacher, all from one config. Each is
            initialised by itself, so weights that are not pretrained differ.
        load_heads: Whether a checkpoint of a plain segmentor also fills the heads, with
            several pairs those of the first one. Backbones and necks are always filled.
        data_preprocessor: Config of a :class:`SemiDataPreProcessor`. By default, and in
            place of a plain ``SegDataPreProcessor``, it has the settings of the
            student's.

    Attributes:
        pairs: All :class:`Pair` s of student and teacher.
        head_pairs: Pairs of modules that a method trains beside the networks, such as
            projectors, each with an EMA copy.
        step_outputs: Detached tensors that a loss leaves for hooks; not saved.
        find_unused_parameters: Whether some iterations give no gradient to some
            parameters, so that distributed training must look for them.
        reads_streams: Names of the streams that the method needs, and of those that it
            reads if they exist; None: not known, so they are not checked.
    """

    find_unused_parameters = False
    reads_streams: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    def __init__(
        self,
        student: dict,
        teacher: dict | None = None,
        feature: str | int | None = None,
        predict_with: str = 'student',
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
        students = [build_student(student) for _ in range(num_pairs)]
        self.adapter = SegmentorAdapter(students[0], feature=feature)
        self.pairs = ModuleList([self._make_pair(one, teacher) for one in students])
        self.load_heads = load_heads
        self.head_pairs = ModuleList()
        self._check_predict_with(predict_with)
        self.predict_with = predict_with
        self.step_outputs: dict = {}
        self.num_labeled: int | None = None
        self._register_load_state_dict_pre_hook(self._load_plain_checkpoint)

    @staticmethod
    def _make_pair(student: nn.Module, teacher: dict | None) -> Pair:
        if teacher is None:
            return Pair(student, with_teacher=False)
        unknown = set(teacher) - {'mode', 'buffers'}
        if unknown:
            raise ValueError(
                "teacher has the settings 'mode' and 'buffers', "
                f'but got {sorted(unknown)}'
            )
        return Pair(
            student,
            teacher_mode=teacher.get('mode', 'eval'),
            buffers=teacher.get('buffers', 'copy'),
        )

    def _check_predict_with(self, name: str) -> None:
        allowed = [*self.networks, *self._means()]
        if name not in allowed:
            raise ValueError(
                f'predict_with of {type(self).__name__} must be in {allowed}, '
                f'but got {name!r}'
            )

    # Networks

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Name -> segmentor, students first."""
        number = len(self.pairs) > 1
        named = {}
        for kind in ('student', 'teacher'):
            for index, pair in enumerate(self.pairs):
                if getattr(pair, kind) is not None:
                    named[f'{kind}{index}' if number else kind] = getattr(pair, kind)
        return named

    def _means(self) -> dict[str, list[nn.Module]]:
        """Name -> networks whose probabilities are averaged for a prediction."""
        named = self.networks
        if len(self.pairs) == 1:
            return dict(mean=list(named.values()))
        kinds = {
            f'mean_{kind}s': [net for n, net in named.items() if n.startswith(kind)]
            for kind in ('student', 'teacher')
        }
        means = dict(mean=list(named.values()), **kinds)
        return {name: networks for name, networks in means.items() if networks}

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

    @property
    def has_memory(self) -> bool:
        """Whether there is a memory bank, which ``MemoryHook`` fills.

        :class:`~mmsemiseg.engine.runner.SemiRunner` adds that hook.
        """
        return False

    @property
    def filters(self) -> dict:
        """Settings that filter pseudo labels, with their values, for hooks."""
        threshold = getattr(self, 'threshold', None)
        return {} if threshold is None else dict(threshold=threshold)

    @property
    def learns_unlabeled(self) -> bool:
        """Whether any loss sees the unlabeled images."""
        return True

    def parameters(self, recurse: bool = True):
        """The parameters that an optimizer may see: all but the teachers'."""
        frozen = self._frozen()
        return (p for p in super().parameters(recurse) if id(p) not in frozen)

    def _frozen(self) -> set[int]:
        teachers = [pair.teacher for pair in self._followed()]
        return {id(p) for teacher in teachers for p in teacher.parameters()}

    def _followed(self) -> list[Pair]:
        pairs = [*self.pairs, *self.head_pairs]
        return [pair for pair in pairs if pair.teacher is not None]

    def init_weights(self) -> None:
        cfg, name = self.student_cfg, 'model.student'
        with explain_failed_download(cfg, name), ExitStack() as stack:
            for pair in self.pairs:
                stack.enter_context(fitting_pretrained(pair.student, cfg, name))
            super().init_weights()

    def check_batch_sizes(self, sizes: dict[str, int]) -> None:
        """Refuse batch sizes that a BatchNorm of the networks cannot train with."""
        check_batch_sizes(self, sizes)

    def set_num_labeled(self, number: int) -> None:
        """Called before training with the number of labeled images."""
        self.num_labeled = number

    @property
    def has_teachers(self) -> bool:
        return bool(self._followed())

    @property
    def teacher_updates(self) -> int:
        """Number of EMA updates since the teachers were copies of their students."""
        return max(pair.steps for pair in self.pairs)

    def copy_to_teacher(self, restart: bool = True) -> None:
        """Each teacher becomes a full copy of its student.

        With ``restart`` the updates of the teachers count from 0 again.
        """
        for pair in self._followed():
            pair.copy_to_teacher(restart)

    def update_teacher(self, decay: float) -> None:
        """One EMA update of each teacher."""
        for pair in self._followed():
            pair.update_teacher(decay)

    def _load_plain_checkpoint(self, state: dict, prefix: str, *args) -> None:
        """A checkpoint of a plain mmseg segmentor fills students and teachers."""
        if any(key.startswith(f'{prefix}pairs.') for key in state):
            return
        plain = [key for key in self.student.state_dict() if prefix + key in state]
        values = {key: state.pop(prefix + key) for key in plain}
        for index, pair in enumerate(self.pairs if plain else ()):
            place = f'{prefix}pairs.{index}.'
            state[f'{place}steps'] = torch.tensor(0)
            own = pair.student.state_dict()
            heads = self.load_heads and index == 0
            filled = {
                k: values[k] if heads or not _of_head(k) else own[k] for k in plain
            }
            for kind in ('student', 'teacher'):
                if getattr(pair, kind) is not None:
                    state.update({f'{place}{kind}.{k}': filled[k] for k in plain})

    # Training

    @property
    def iteration(self) -> int:
        """Iteration of the running loop, 0 outside of one."""
        return MessageHub.get_current_instance().get_info('iter', 0)

    def ramp(self, settings: dict | None) -> float:
        """Ramp-up factor of a loss in this iteration, in [0, 1]; 1 for None."""
        return 1.0 if settings is None else ramp_up(self.iteration, **settings)

    def loss(self, inputs: 'dict | Tensor', data_samples: list | None = None) -> dict:
        """Supervised losses of the labeled stream plus the method's own."""
        self.step_outputs = {}
        if isinstance(inputs, Tensor):
            return self.supervised_loss(Batch(inputs, data_samples))
        losses = self.supervised_loss(inputs['labeled'])
        losses.update(self.unsupervised_loss(inputs))
        return losses

    def supervised_loss(self, labeled: Batch) -> dict:
        """The student's supervised losses, their keys prefixed by ``sup.``."""
        check_labels(self.student, labeled.data_samples)
        losses = self.student.loss(labeled.inputs, labeled.data_samples)
        return {f'sup.{key}': value for key, value in losses.items()}

    @abstractmethod
    def unsupervised_loss(self, inputs: dict) -> dict:
        """Losses of ``{stream: Batch or {view: Batch}}``, with ``loss`` in each key."""

    # Prediction

    def predict_as(self, name: str, inputs: Tensor, data_samples: list | None) -> list:
        """Predictions of one network, or of a mean, as mmseg data samples."""
        networks = self.networks
        if name in networks:
            return networks[name].predict(inputs, data_samples)
        metas = _metas(inputs, data_samples)
        found = [net.inference(inputs, metas) for net in self._means()[name]]
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


def _of_head(key: str) -> bool:
    return key.startswith(('decode_head.', 'auxiliary_head.'))


def _metas(inputs: Tensor, data_samples: list | None) -> list[dict]:
    if data_samples is not None:
        return [sample.metainfo for sample in data_samples]
    shape = tuple(inputs.shape[2:])
    meta = dict(ori_shape=shape, img_shape=shape, pad_shape=shape, padding_size=[0] * 4)
    return [meta] * inputs.shape[0]


def _probs(logits: Tensor) -> Tensor:
    """Probabilities of logits (N, C, H, W); by a sigmoid for one channel."""
    return logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
