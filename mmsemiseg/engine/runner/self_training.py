"""Self-training: train on labels, write masks, retrain on both."""

import copy
import json
import os

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from mmengine.model import is_model_wrapper
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from mmengine.utils import ProgressBar
from mmseg.registry import DATASETS

from .runner import SemiRunner

IGNORE_INDEX = 255
SETTINGS = ('unlabeled', 'batch_size', 'num_workers', 'threshold', 'network', 'strong')


@RUNNERS.register_module()
class SelfTrainingRunner:
    """Two stages of training with pseudo masks written in between.

    1. ``teacher/``: the config as it stands (labeled stream), to the end.
    2. ``pseudo_masks/``: its last checkpoint predicts each unlabeled image once, at
       original size; pixels below ``threshold`` become 255. One PNG an image.
    3. ``student/``: the same config from its own initialisation, with a second
       supervised stream ``pseudo`` of the images and their masks.

    The folders lie in ``work_dir``. A run that was stopped goes on with ``--resume``
    inside any of the three.

    Config: ``runner_type='SelfTrainingRunner'`` and::

        self_training = dict(
            unlabeled=dict(type='UnlabeledDataset', ...),  # its pipeline is replaced
            batch_size=8, num_workers=2,  # of the pseudo stream
            threshold=None,               # keep all pixels
            network='student',            # that writes the masks
            strong=[dict(type='PhotoMetricDistortion')])  # extra augmentation of `pseudo`
    """

    def __init__(self, cfg: Config) -> None:
        settings = dict(cfg.get('self_training') or {})
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
        self.cfg = cfg
        self.settings = settings
        self.threshold = threshold
        self.network = settings.get('network', 'student')
        self.work_dir = cfg.work_dir
        self.resume = bool(cfg.get('resume', False))

    @classmethod
    def from_cfg(cls, cfg: Config) -> 'SelfTrainingRunner':
        return cls(cfg)

    def train(self):
        """Run what is not done yet; returns the student's model."""
        index = os.path.join(self.work_dir, 'pseudo_masks', 'index.json')
        if not (self.resume and os.path.isfile(index)):
            runner = self._runner('teacher', self.cfg)
            runner.train()
            self.write_masks(runner, index)
        return self._runner('student', self._student_cfg(index)).train()

    def _runner(self, stage: str, cfg: Config) -> Runner:
        cfg = copy.deepcopy(cfg)
        cfg.work_dir = os.path.join(self.work_dir, stage)
        cfg.experiment_name = f'{os.path.basename(self.work_dir)}_{stage}'
        last = os.path.join(cfg.work_dir, 'last_checkpoint')
        cfg.resume = self.resume and os.path.isfile(last)
        cfg.pop('self_training', None)
        return SemiRunner.from_cfg(cfg)

    @torch.no_grad()
    def write_masks(self, runner: Runner, index: str) -> None:
        """Predict each unlabeled image; masks that are there already are kept."""
        folder = os.path.dirname(index)
        os.makedirs(folder, exist_ok=True)
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.eval()
        loader = self._label_loader(runner)
        infos = [loader.dataset.get_data_info(i) for i in range(len(loader.dataset))]
        names = {info['img_path']: _mask_name(i, info) for i, info in enumerate(infos)}
        runner.logger.info(f'writing {len(infos)} pseudo masks to {folder}')
        bar = ProgressBar(len(loader)) if is_main_process() else None
        for batch in loader:
            path = batch['data_samples'][0].img_path
            target = os.path.join(folder, names[path])
            if not (self.resume and os.path.isfile(target)):
                data = model.data_preprocessor(batch, False)
                sample = model.predict_as(self.network, **data)[0]
                _write_png(target, self._mask(sample))
            if bar is not None:
                bar.update()
        barrier()
        if is_main_process():
            pairs = [dict(img_path=path, seg_map_path=n) for path, n in names.items()]
            _write_text(index, json.dumps(pairs, indent=1))
        barrier()

    def _label_loader(self, runner: Runner):
        dataset = dict(self.settings['unlabeled'])
        resizes = [
            step
            for step in self.cfg.val_dataloader.dataset.pipeline
            if step['type'] != 'LoadAnnotations'
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

    def _mask(self, sample) -> np.ndarray:
        mask = sample.pred_sem_seg.data[0].byte()
        if self.threshold is not None:
            confidence = sample.seg_logits.data.float().softmax(0).amax(0)
            mask = mask.masked_fill(confidence < self.threshold, IGNORE_INDEX)
        return mask.cpu().numpy()

    def _student_cfg(self, index: str) -> Config:
        cfg = copy.deepcopy(self.cfg)
        labeled = cfg.train_dataloader.labeled
        pipeline = copy.deepcopy(labeled.dataset.pipeline)
        strong = list(self.settings.get('strong') or ())
        pipeline = [*pipeline[:-1], *strong, pipeline[-1]]
        cfg.train_dataloader.pseudo = dict(
            batch_size=self.settings.get('batch_size', labeled.batch_size),
            num_workers=self.settings.get('num_workers', 0),
            dataset=dict(
                type='PseudoMaskDataset',
                ann_file=os.path.abspath(index),
                metainfo=_metainfo(labeled.dataset),
                pipeline=pipeline,
            ),
        )
        cfg.model.streams = ('labeled', 'pseudo')
        return cfg


def _metainfo(dataset: dict) -> dict:
    declared = dict(getattr(DATASETS.get(dataset['type']), 'METAINFO', {}))
    return {**declared, **(dataset.get('metainfo') or {})}


def _mask_name(number: int, info: dict) -> str:
    stem = os.path.splitext(os.path.basename(info['img_path']))[0]
    return f'{number:06d}_{stem}.png'


def _write_png(path: str, mask: np.ndarray) -> None:
    ok, encoded = cv2.imencode('.png', mask)
    if not ok:
        raise OSError(f'could not encode {path}')
    _replace(path, encoded.tobytes())


def _write_text(path: str, text: str) -> None:
    _replace(path, text.encode())


def _replace(path: str, content: bytes) -> None:
    """Write a whole file or none of it."""
    part = f'{path}.{os.getpid()}.part'
    with open(part, 'wb') as file:
        file.write(content)
    os.replace(part, path)
