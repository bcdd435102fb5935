"""Validation of student and teacher in one pass over the data."""

import copy
import os

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import ValLoop, autocast
from mmseg.registry import LOOPS

from ...evaluation.protocol import describe_protocol
from ...utils.model import unwrap


@LOOPS.register_module()
class TeacherStudentValLoop(ValLoop):
    """Validate student and teacher in one pass: each image is loaded only once.

    Metrics are prefixed by the name of the network: ``student/mIoU``, ``teacher/mIoU``.
    A metric with an ``output_dir`` writes label maps to ``output_dir/student`` and
    ``output_dir/teacher``. The log says how images are evaluated: whole, in sliding
    windows or cropped, and at which size.

    Args:
        runner: Runner of the training.
        dataloader: Dataloader of the validation images, or its config.
        evaluator: Metrics, or their config; each network gets a copy.
        fp16: Whether the networks run under autocast.
        networks: Networks to evaluate, names in ``model.networks``; None: all of them.
    """

    def __init__(
        self,
        runner,
        dataloader,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
        networks: list[str] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        model = unwrap(runner.model)
        known = list(getattr(model, 'networks', {}))
        self.networks = list(networks) if networks is not None else known
        unknown = [name for name in self.networks if name not in known]
        if unknown or not self.networks:
            raise ValueError(
                f'val_cfg.networks must be in {known} of {type(model).__name__}, '
                f'but got {self.networks}'
            )
        self.evaluators = {n: copy.deepcopy(self.evaluator) for n in self.networks}
        if len(self.networks) > 1:
            self._separate_files()
        # Its loader draws a seed each time: not from the generator that trains
        self.dataloader.generator = torch.Generator()
        self.protocol = describe_protocol(self.dataloader.dataset, model)

    def _separate_files(self) -> None:
        """Let metrics write into a folder of its own for each network."""
        for name, evaluator in self.evaluators.items():
            for metric in evaluator.metrics:
                if getattr(metric, 'output_dir', None):
                    metric.output_dir = os.path.join(metric.output_dir, name)
                    os.makedirs(metric.output_dir, exist_ok=True)

    def run(self) -> dict:
        self.runner.call_hook('before_val')
        self.runner.call_hook('before_val_epoch')
        self.runner.model.eval()
        self.runner.logger.info(f'evaluation protocol: {self.protocol}')
        for index, batch in enumerate(self.dataloader):
            self.run_iter(index, batch)
        metrics = {}
        for name, evaluator in self.evaluators.items():
            self.runner.logger.info(f'{name}:')
            scores = evaluator.evaluate(len(self.dataloader.dataset))
            metrics.update({f'{name}/{key}': value for key, value in scores.items()})
        self.runner.call_hook('after_val_epoch', metrics=metrics)
        self.runner.call_hook('after_val')
        return metrics

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        self.runner.call_hook('before_val_iter', batch_idx=idx, data_batch=data_batch)
        model = unwrap(self.runner.model)
        data = model.data_preprocessor(data_batch, False)
        outputs = []
        for name, evaluator in self.evaluators.items():
            samples = [sample.clone() for sample in data['data_samples']]
            with autocast(enabled=self.fp16):
                outputs = model.predict_as(name, data['inputs'], samples)
            evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(
            'after_val_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )
