"""Base of all semi-supervised methods."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from mmengine.logging import MessageHub
from torch import Tensor, nn

from ...functional import PseudoLabel, ramp_up, resize_logits
from ...utils.profiling import stage
from ...utils.settings import check_numbers
from ..adapter import SegmentorAdapter, SegmentorOutput
from ..augment import BatchAugment, build_augment
from ..contrast import FeaturePart
from ..data_preprocessor import Batch
from ..parts import build_part, errors_in, merged
from ..streams import Streams
from ..student import check_labels
from .paired_segmentor import PairedSegmentor


class SemiSegmentor(PairedSegmentor):
    """Base of all methods: one training step on labeled and unlabeled images.

    Holds a student, any segmentor of MMSegmentation, and in most methods an EMA teacher
    of it. A subclass implements :meth:`step`, which gets one batch of each stream (a
    stream is a named source of batches, such as ``labeled`` and ``unlabeled``) and
    returns losses. What the step needs, such as a loss or a memory bank, is a component
    with settings of its own, nested in the config, which :meth:`build_part` builds.

    A step changes no weights and no memory bank (its passes do change the statistics of
    BatchNorm). Teachers and banks are updated after the optimizer step, each by one
    method that a hook calls.

    Args:
        student: Config of the segmentor that is trained, any one of MMSegmentation.
        teacher: Settings of the EMA teacher, ``dict(mode='eval'|'train',
            buffers='copy'|'average'|'own')``, which :class:`Pair` explains; None for a
            method without teacher.
        feature: Layer whose features the method reads (see :class:`SegmentorAdapter`);
            None if it reads none. A contrast has a setting ``feature`` of its own.
        sup_weight: Weight of the students' supervised losses.
        predict_with: Network for prediction and testing: ``'student'`` or
            ``'teacher'``, numbered where there are several (``'student0'``); or
            ``'mean'``, ``'mean_students'`` or ``'mean_teachers'`` for the mean of the
            probabilities of several networks. None: the first student.
        num_pairs: Number of pairs of student and teacher, all from one config. Each is
            initialised by itself, so weights that are not pretrained differ.
        load_heads: Whether a checkpoint of a plain segmentor fills the heads too, with
            several pairs those of the first one. Backbones and necks are always filled.
        data_preprocessor: Config of a :class:`SemiDataPreProcessor`, or of a plain
            ``SegDataPreProcessor``, which is converted; None: that of the student's
            config. Where both have one, the student's comes before a plain one.
        init_cfg: Initialisation in MMEngine's form, on top of that of the student's
            config; seldom needed.

    Attributes:
        pairs: The pairs of student and teacher, each a :class:`Pair`.
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
        predict_with: str | None = None,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
        num_pairs: int = 1,
        load_heads: bool = True,
    ) -> None:
        check_numbers(sup_weight=sup_weight)
        super().__init__(
            student,
            teacher=teacher,
            feature=feature,
            predict_with=predict_with,
            data_preprocessor=data_preprocessor,
            init_cfg=init_cfg,
            num_pairs=num_pairs,
            load_heads=load_heads,
        )
        self.sup_weight = sup_weight
        self.step_outputs: dict = {}
        self.num_labeled: int | None = None

    # Components

    def build_part(
        self,
        name: str,
        cfg: Mapping | None,
        default: Mapping | None = None,
        base: type = object,
        **given,
    ):
        """Build the component ``model.<name>`` of settings (see :func:`build_part`).

        A :class:`FeaturePart`, such as a contrast, gets this model as its first
        argument. Its setting ``feature``, ``'pre_cls'`` by default, is the layer whose
        features :attr:`adapter` then gives.
        ``given`` are arguments that the code and not the user chooses.
        """
        path = f'model.{name}'
        if not isinstance(cfg, Mapping) or not issubclass(base, FeaturePart):
            return build_part(cfg, path, default=default, base=base, **given)
        cfg = dict(merged(default, cfg) if default else cfg)
        feature = cfg.pop('feature', 'pre_cls')
        with errors_in(path, ['feature']):
            if feature is None:
                raise ValueError('feature must not be None: features are compared')
            self.adapter = SegmentorAdapter(self.student, feature=feature)
        return build_part(cfg, path, self, base=base, **given)

    def build_augment(self, name: str, cfg: Sequence[Mapping] | None) -> BatchAugment:
        """Build the augmentation ``model.<name>`` of a list of operations' settings."""
        bands = getattr(self.data_preprocessor, 'bands', 3)
        return build_augment(cfg, f'model.{name}', bands)

    @property
    def feature_channels(self) -> 'int | tuple[int, ...]':
        """Channels of the features that :attr:`adapter` gives; of several a tuple."""
        return self.adapter.feature_channels(self.student)

    def remember(self, part: nn.Module, **rows: Tensor) -> None:
        """Collect rows for the memory of a component, to enter after this step.

        A row is what the memory keeps one of, such as the feature of a pixel;
        :class:`MemoryHook` hands the rows of all batches and processes to
        ``part.update_memory(**rows)`` once the optimizer has stepped.
        """
        name = next(name for name, one in self.named_children() if one is part)
        memory = self.step_outputs.setdefault('memory', {})
        memory.update({f'{name}.{key}': value for key, value in rows.items()})

    def update_memory(self, **rows: Tensor) -> None:
        """Let each component store its rows of a step; :class:`MemoryHook` calls it."""
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
        """Whether a component has a memory, such as a bank or class counts.

        ``MemoryHook`` fills it; :class:`~mmsemiseg.engine.runner.SemiRunner` adds that
        hook.
        """
        return bool(self._memories())

    def unready_classes(self) -> list[int]:
        """Classes of which a memory still has too few rows, so that a loss waits."""
        parts = self._memories().values()
        found = [p.unready_classes() for p in parts if hasattr(p, 'unready_classes')]
        return sorted({label for one in found for label in one})

    def bank_fill(self) -> list[Tensor]:
        """Share of the places of each memory bank that hold a row.

        (C,) by class, or (1,) where the classes share the places of a bank.
        """
        modules = [m for part in self._memories().values() for m in part.modules()]
        return [m.fill(self.num_classes) for m in modules if hasattr(m, 'fill')]

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

    def set_stream_sizes(
        self, images: dict[str, int], batch_sizes: dict[str, int]
    ) -> None:
        """Note the number of images and the batch size of each stream.

        ``SemiTrainLoop`` calls it before training. Images of a data set that is
        repeated count once; a batch size is that of one process. Components that have a
        method of this name are told, too.
        """
        self.num_labeled = images['labeled']
        for part in self.children():
            if hasattr(part, 'set_stream_sizes'):
                part.set_stream_sizes(images, batch_sizes)

    # Training

    @property
    def iteration(self) -> int:
        """Iteration of the running loop, 0 outside of one."""
        return MessageHub.get_current_instance().get_info('iter', 0)

    def ramp(self, settings: dict | None) -> float:
        """Ramp-up factor of a loss in this iteration, in [0, 1]; 1 for None."""
        return 1.0 if settings is None else ramp_up(self.iteration, **settings)

    def loss(self, inputs: 'dict | Tensor', data_samples: list | None = None) -> dict:
        """Losses of a step by name; supervised ones for a plain batch of images.

        A method overrides :meth:`step`, not this.
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

    def pseudo_label_loss(
        self, logits: Tensor, pseudo: PseudoLabel, pixel_factor: Tensor | None = None
    ) -> Tensor:
        """Loss of the component ``pseudo_loss``; statistics are left for hooks.

        Args:
            logits: Logits (N, C, H, W) of a student, at the size of the labels.
            pseudo: Pseudo labels of the same pixels.
            pixel_factor: Factors (N, H, W) of the pixel weights; None: 1.
        """
        weights = self.pseudo_loss.pixel_weights(pseudo)
        loss = self.pseudo_loss(logits, pseudo, self.iteration, pixel_factor, weights)
        self.step_outputs['pseudo'] = self.pseudo_loss.statistics(
            pseudo, self.num_classes, weights
        )
        return loss

    @stage('upsampling')
    def upsampled(self, logits: Tensor, images: Tensor) -> Tensor:
        """Logits (N, C, h, w) at the size of images or maps (..., H, W)."""
        return resize_logits(logits, images.shape[-2:], self.align_corners)

    def mixed(
        self, images: Tensor, pseudo: 'PseudoLabel | list[PseudoLabel]'
    ) -> tuple[Tensor, 'PseudoLabel | list[PseudoLabel]']:
        """Images and pseudo labels after the component ``mix``, if there is one."""
        mix = getattr(self, 'mix', None)
        if mix is None:
            return images, pseudo
        return mix(images, pseudo, self.num_classes)
