"""Self-training: train on labels, write masks, retrain on both."""

import copy
import os
import shutil
import time
from inspect import signature

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS

from ...datasets.image_names import image_names
from ...datasets.pseudo_masks import without_reduction
from ...utils.model import unwrap
from ..checkpoints.run_folder import move_earlier_checkpoints
from .mask_writer import write_masks
from .run_lock import locked
from .runner import SemiRunner

STAGES = ('teacher', 'student')
SETTINGS = ('unlabeled', 'batch_size', 'num_workers', 'threshold', 'network', 'strong')


@RUNNERS.register_module()
class SelfTrainingRunner:
    """Self-training: two stages of training, with pseudo masks written in between.

    1. ``teacher/``: training by the config as it is, on the labeled stream.
    2. ``pseudo_masks/``: the weights at its end predict each unlabeled image once, at
       original size. There is one PNG for each image, in the image's sub-folder, with
       class numbers (0 is the first class, with ``reduce_zero_label`` too); pixels
       whose confidence is below ``threshold`` are ignored.
    3. ``student/``: the same training again from the initial weights, with a second
       labeled stream ``pseudo`` of the images and their pseudo masks.

    These are folders in ``work_dir``. A run that was stopped goes on with ``--resume``
    in whichever of the three it was; without ``--resume`` all three start anew.

    Config: ``runner_type='SelfTrainingRunner'`` and::

        self_training = dict(
            unlabeled=dict(type='UnlabeledDataset', ...),  # its pipeline is replaced
            batch_size=8, num_workers=2,  # of the pseudo stream
            threshold=None,               # keep all pixels
            network='student',            # which writes the masks
            strong=[dict(type='PhotoMetricDistortion')])  # added for `pseudo`

    Args:
        cfg: Config of the run.
    """

    def __init__(self, cfg: Config) -> None:
        settings = dict(cfg.get('self_training') or {})
        _check_settings(cfg, settings)
        self.cfg = cfg
        self.settings = settings
        self.threshold = settings.get('threshold')
        self.network = settings.get('network', 'student')
        self.work_dir = os.path.normpath(cfg.work_dir)
        self.index = os.path.join(self.work_dir, 'pseudo_masks', 'index.json')
        self.resume = bool(cfg.get('resume', False))

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'SelfTrainingRunner':
        return cls(cfg)

    def train(self):
        """Run the stages that are not done yet; returns the model of the last one."""
        teacher = None
        if not self.resume or not os.path.isfile(self.index):
            teacher = self._runner('teacher', self._teacher_cfg())
        else:
            student = self._runner('student', self._student_cfg(self.index))
        with locked(self.work_dir):  # a runner has connected the processes
            if teacher is not None:
                self._train_teacher(teacher)
                student = self._runner('student', self._student_cfg(self.index))
            return student.train()

    def test(self) -> dict:
        """Metrics of ``load_from``, a checkpoint of either stage."""
        return SemiRunner.from_cfg(self.cfg).test()

    def _forget(self) -> None:
        """An earlier run in this folder must not be taken for a part of this one."""
        for stage in STAGES:
            folder = os.path.join(self.work_dir, stage)
            move_earlier_checkpoints(folder, time.strftime('before_%Y%m%d_%H%M%S'))
        shutil.rmtree(os.path.dirname(self.index), ignore_errors=True)

    def _train_teacher(self, runner: Runner) -> None:
        if not self.resume:
            if is_main_process():
                self._forget()
            barrier()
        networks = [*unwrap(runner.model).networks, 'mean']
        if self.network not in networks:
            raise ValueError(
                f'self_training.network must be in {networks}, but got {self.network!r}'
            )
        loader = self._label_loader(runner)  # whose mistakes show before the training
        image_names(loader.dataset)
        runner.train()
        runner.logger.info(f'writing pseudo masks to {os.path.dirname(self.index)}')
        model = unwrap(runner.model)
        write_masks(model, loader, self.index, self.network, self.threshold)

    def _runner(self, stage: str, cfg: Config) -> Runner:
        cfg = copy.deepcopy(cfg)
        cfg.work_dir = os.path.join(self.work_dir, stage)
        cfg.experiment_name = f'{os.path.basename(self.work_dir)}_{stage}'
        if cfg.get('visualizer'):  # by one name both stages would get one visualizer
            cfg.visualizer.name = cfg.experiment_name
        cfg.resume = 'auto' if self.resume else False
        cfg.pop('self_training', None)
        return SemiRunner.from_cfg(cfg)

    def _label_loader(self, runner: Runner):
        dataset = dict(self.settings['unlabeled'])
        resizes = [
            step
            for step in self.cfg.val_dataloader.dataset.pipeline
            if step['type'] not in ('LoadAnnotations', 'CenterCropEval')
        ]
        dataset['pipeline'] = resizes
        return runner.build_dataloader(
            dict(
                batch_size=1,
                num_workers=self.settings.get('num_workers', 0),
                sampler=dict(type='DefaultSampler', shuffle=False),
                dataset=dataset,
            ),
            seed=runner.seed,
        )

    def _teacher_cfg(self) -> Config:
        """Config of the first stage, which has only the labeled stream.

        With ``auto_scale_lr`` both stages have the learning rate of the second, whose
        steps have the images of two streams.
        """
        cfg = copy.deepcopy(self.cfg)
        scale = cfg.get('auto_scale_lr')
        if scale and 'base_batch_size' in scale:
            labeled = cfg.train_dataloader.labeled.batch_size
            images = labeled + self._pseudo_batch_size()
            scale.base_batch_size = scale.base_batch_size * labeled / images
        return cfg

    def _pseudo_batch_size(self) -> int:
        labeled = self.cfg.train_dataloader.labeled
        return self.settings.get('batch_size', labeled.batch_size)

    def _student_cfg(self, index: str) -> Config:
        cfg = copy.deepcopy(self.cfg)
        labeled = cfg.train_dataloader.labeled
        pipeline = without_reduction(labeled.dataset.pipeline)
        strong = list(self.settings.get('strong') or ())
        pipeline = [*pipeline[:-1], *strong, pipeline[-1]]
        cfg.train_dataloader.pseudo = dict(
            batch_size=self._pseudo_batch_size(),
            num_workers=self.settings.get('num_workers', 0),
            dataset=dict(
                type='PseudoMaskDataset',
                ann_file=os.path.abspath(index),
                metainfo=_metainfo(labeled.dataset),
                ignore_index=labeled.dataset.get('ignore_index', 255),
                pipeline=pipeline,
            ),
        )
        cfg.model.streams = ('labeled', 'pseudo')
        return cfg


def _check_settings(cfg: Config, settings: dict) -> None:
    unknown = sorted(set(settings) - set(SETTINGS))
    if 'unlabeled' not in settings or unknown:
        raise ValueError(
            f"self_training needs 'unlabeled' and knows {SETTINGS}, "
            f'but has {sorted(settings)}'
        )
    threshold = settings.get('threshold')
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(
            f'self_training.threshold must be in [0, 1] or None, but got {threshold}'
        )
    if cfg.get('resume') not in (None, False, 'auto') and cfg.get('load_from'):
        raise ValueError(
            'a SelfTrainingRunner goes on from the newest checkpoint of its stage, not '
            f"from {cfg.load_from!r}: set resume='auto'"
        )
    model = cfg.model.get('module') or cfg.model  # of test-time augmentation
    if 'streams' not in signature(MODELS.get(model.type).__init__).parameters:
        raise ValueError(
            'self-training needs a model with the setting `streams`, as SupOnly has, '
            f'but model.type is {model.type!r}'
        )
    for loader in ('train_dataloader.labeled', 'val_dataloader'):
        dataset = _get(cfg, f'{loader}.dataset')
        if dataset is None or 'pipeline' not in dataset:
            raise ValueError(
                f'self-training reads {loader}.dataset.pipeline, which is not there'
            )


def _get(cfg: Config, keys: str):
    for key in keys.split('.'):
        cfg = (cfg or {}).get(key)
    return cfg


def _metainfo(dataset: dict) -> dict:
    declared = dict(getattr(DATASETS.get(dataset['type']), 'METAINFO', {}))
    return {**declared, **(dataset.get('metainfo') or {})}
