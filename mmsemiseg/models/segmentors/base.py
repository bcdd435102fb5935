"""Base of all semi-supervised methods."""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping
from contextlib import ExitStack

import torch
from mmengine.logging import MessageHub
from mmseg.models import BaseSegmentor
from torch import Tensor, nn

from ...functional import PseudoLabel, ramp_up
from ...utils.preprocessor import semi_preprocessor
from ...utils.pretrained import check_pretrained, explain_failed_download
from ...utils.pretrained_fit import fitting_pretrained
from ...utils.profiling import stage
from ...utils.settings import check_numbers
from ..adapter import HeadRule, SegmentorAdapter, SegmentorOutput, resize_logits
from ..batch_sizes import check_batch_sizes
from ..contrast import FeaturePart
from ..data_preprocessor import Batch
from ..head_rules import check_head_config
from ..parts import build_part, check_settings, errors_in, merged
from ..streams import Streams
from ..student import build_student, check_labels
from .pair import Pair
from .pair_list import PairList, make_pair


class _Buildable(ABCMeta):
    """Drops the empty settings that mmseg's ``init_model`` writes into any model.

    Settings that a method does not have are errors that say where they belong.
    """

    def __call__(cls, *args, **settings):
        for name in ('pretrained', 'train_cfg'):
            if settings.get(name, 0) is None:
                del settings[name]
        check_settings(cls, settings)
        return super().__call__(*args, **settings)


class SemiSegmentor(BaseSegmentor, metaclass=_Buildable):
    """Base of all methods: one training step on labeled and unlabeled images.

    Holds a student, any segmentor of MMSegmentation, and perhaps its EMA teacher. A
    method implements :meth:`step`, and is made of parts that :meth:`build_part` builds
    from nested settings. A step changes no saved state: teachers, banks and windows are
    updated after the optimizer step, each by one method that a hook calls.

    Args:
        student: Config of the segmentor that is trained, any of mmseg.
        teacher: Settings of the EMA teacher, ``dict(mode=..., buffers=...)`` of the
            :class:`Pair`; None for a method without teacher.
        feature: Layer whose features the method reads (see :class:`SegmentorAdapter`);
            None if it needs none. A contrast names its own.
        sup_weight: Weight of the students' supervised losses.
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
        step_outputs: Detached tensors that a step leaves for hooks; not saved.
        num_labeled: Number of labeled images, told before training; None: not known.
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
        sup_weight: float = 1.0,
        predict_with: str = 'student',
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        num_pairs: int = 1,
        load_heads: bool = True,
    ) -> None:
        if not isinstance(num_pairs, int) or num_pairs < 1:
            raise ValueError(f'num_pairs must be an integer >= 1, but got {num_pairs}')
        check_numbers(sup_weight=sup_weight)
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
        self.sup_weight = sup_weight
        self._check_predict_with(predict_with)
        self.predict_with = predict_with
        self.step_outputs: dict = {}
        self.num_labeled: int | None = None
        self._register_load_state_dict_pre_hook(self._load_plain_checkpoint)

    def _check_predict_with(self, name: str) -> None:
        allowed = [*self.networks, *self.pairs.means]
        if name not in allowed:
            raise ValueError(
                f'predict_with of {type(self).__name__} must be in {allowed}, '
                f'but got {name!r}'
            )

    # Parts

    def make_pair(self, module: nn.Module) -> Pair:
        """A module, with an EMA copy if the method has a teacher."""
        return make_pair(module, self.teacher_cfg)

    def build_part(
        self,
        name: str,
        cfg: Mapping | None,
        default: Mapping | None = None,
        base: type = object,
    ):
        """Build the part ``model.<name>`` of nested settings (see :func:`build_part`).

        A :class:`FeaturePart` gets this method as its first argument, and its setting
        ``feature`` is the layer that :attr:`adapter` reads; ``'pre_cls'`` by default.
        """
        path = f'model.{name}'
        if cfg is None or not issubclass(base, FeaturePart):
            return build_part(cfg, path, default=default, base=base)
        cfg = dict(merged(default, cfg) if default else cfg)
        feature = cfg.pop('feature', 'pre_cls')
        with errors_in(path, ['feature']):
            if feature is None:
                raise ValueError('feature must not be None: features are compared')
            self.adapter = SegmentorAdapter(self.student, feature=feature)
        return build_part(cfg, path, self, base=base)

    @property
    def feature_channels(self) -> 'int | tuple[int, ...]':
        """Channels of the features that :attr:`adapter` reads; of several a tuple."""
        return self.adapter.feature_channels(self.student)

    def remember(self, part: nn.Module, **rows: Tensor) -> None:
        """Leave rows for the memory of a part, which a :class:`MemoryHook` fills."""
        name = next(name for name, one in self.named_children() if one is part)
        memory = self.step_outputs.setdefault('memory', {})
        memory.update({f'{name}.{key}': value for key, value in rows.items()})

    def update_memory(self, **rows: Tensor) -> None:
        """Hand to each part the rows of a step; :class:`MemoryHook` calls it."""
        for name, part in self._memories().items():
            own = {
                key.removeprefix(f'{name}.'): value
                for key, value in rows.items()
                if key.startswith(f'{name}.')
            }
            if own:
                part.update_memory(**own)

    def _memories(self) -> dict[str, nn.Module]:
        parts = self.named_children()
        return {n: part for n, part in parts if getattr(part, 'has_memory', False)}

    @property
    def has_memory(self) -> bool:
        """Whether a part has a memory, which ``MemoryHook`` fills.

        :class:`~mmsemiseg.engine.runner.SemiRunner` adds that hook.
        """
        return bool(self._memories())

    def unready_classes(self) -> list[int]:
        """Classes that some memory has too few rows of, so that a loss waits."""
        parts = self._memories().values()
        found = [p.unready_classes() for p in parts if hasattr(p, 'unready_classes')]
        return sorted({label for one in found for label in one})

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

    @property
    def filters(self) -> dict:
        """Settings that filter pseudo labels, with their values, for hooks."""
        return {
            f'{name}.{key}': value
            for name, part in self.named_children()
            for key, value in getattr(part, 'filters', {}).items()
        }

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
        """Pairs with a teacher: of networks and of the heads of parts."""
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

    def set_stream_sizes(
        self, images: dict[str, int], batch_sizes: dict[str, int]
    ) -> None:
        """Called before training with the images and the batch size of each stream.

        Images of a data set that is repeated count once; the batch sizes are those of a
        process. Parts that have a method of this name are told, too.
        """
        self.num_labeled = images['labeled']
        for part in self.children():
            if hasattr(part, 'set_stream_sizes'):
                part.set_stream_sizes(images, batch_sizes)

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
        self.pairs.fill_from_plain(state, prefix, self.load_heads)

    # Training

    @property
    def iteration(self) -> int:
        """Iteration of the running loop, 0 outside of one."""
        return MessageHub.get_current_instance().get_info('iter', 0)

    def ramp(self, settings: dict | None) -> float:
        """Ramp-up factor of a loss in this iteration, in [0, 1]; 1 for None."""
        return 1.0 if settings is None else ramp_up(self.iteration, **settings)

    def loss(self, inputs: 'dict | Tensor', data_samples: list | None = None) -> dict:
        """Losses of a step; of a plain batch the supervised ones.

        A method does not override this but :meth:`step`.
        """
        self.step_outputs = {}
        if isinstance(inputs, Tensor):
            return self.supervised_loss(Batch(inputs, data_samples))
        return self.step(Streams(inputs))

    @abstractmethod
    def step(self, streams: Streams) -> dict:
        """Losses of one step by name; those with ``loss`` in their name are summed."""

    def supervised_loss(self, labeled: Batch) -> dict:
        """Supervised losses of all students, their names prefixed by ``sup.``."""
        losses = {}
        for index, pair in enumerate(self.pairs):
            check_labels(pair.student, labeled.data_samples)
            with stage('supervised pass'):
                own = pair.student.loss(*labeled)
            losses |= self._supervised(own, index)
        return losses

    def supervised(
        self, labeled: Batch, index: int = 0
    ) -> tuple[dict, SegmentorOutput]:
        """Supervised losses of one student, and the output of the same pass."""
        losses, output = self.adapter.loss(self.pairs[index].student, *labeled)
        return self._supervised(losses, index), output

    def _supervised(self, losses: dict, index: int) -> dict:
        prefix = self.pairs.numbered('sup', index)
        weight = self.sup_weight
        return {
            f'{prefix}.{key}': weight * value if 'loss' in key else value
            for key, value in losses.items()
        }

    @stage('upsampling')
    def upsampled(self, logits: Tensor, images: Tensor) -> Tensor:
        """Logits (N, C, h, w) at the size of images or maps (..., H, W)."""
        return resize_logits(logits, images.shape[-2:], self.align_corners)

    def mixed(
        self, images: Tensor, pseudo: 'PseudoLabel | list[PseudoLabel]'
    ) -> tuple[Tensor, 'PseudoLabel | list[PseudoLabel]']:
        """Images and pseudo labels after the part ``mix``, if there is one."""
        mix = getattr(self, 'mix', None)
        return (
            (images, pseudo) if mix is None else mix(images, pseudo, self.num_classes)
        )

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
