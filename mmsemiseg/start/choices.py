"""The choices of a start, made of the data and of measured steps."""

import dataclasses
import os
import shutil
import time
from collections.abc import Callable

import torch

from ..utils.cpu import busy_cores, has_bfloat16, usable_cores
from . import plan as plans
from .configs import data_text, method_text, student_text
from .copies import copy_side, write_copies
from .options import Options, Say, config_path, duration, tell, title
from .plan import Plan
from .probe import Extent, OutOfMemory, Probe, probe
from .reading import Data
from .students import Student, default_student, own_student

QUICK = 600  # seconds; a shorter start measures the smallest size first


class Chooser:
    """Chooses what the user leaves open, says why, and writes the configs.

    Args:
        options: What the user asks for.
        data: The data.
        out: Folder of the start.
        began: Time at which the command began.
        say: Function that prints a line.
        check: Function that checks the files which the configs name.
    """

    def __init__(
        self,
        options: Options,
        data: Data,
        out: str,
        began: float,
        say: Say,
        check: Callable[[], None],
    ) -> None:
        self.options, self.data, self.out, self.check = options, data, out, check
        self.began, self.say = began, say
        self.files = data.files
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self.seconds = options.hours and options.hours * 3600

    def choose(self) -> Plan:
        """All numbers of the runs; the configs have them.

        Raises:
            ProbeError: The configs cannot be trained.
        """
        title(self.say, 'Network and measured steps')
        self._say_load()
        plan = self._first_plan()
        student = self._student(plan)
        tell(self.say, student.said)
        wanted, why = plans.wanted_iterations(self._labels, plan.batch)
        plan.iterations = plan.val_interval = wanted
        plan.warmup = min(100, wanted // 10)
        probes = self._measure(plan, student)
        if self.seconds and not self.options.scale:
            side, reason = self._side(plan, probes, wanted)
            if side != plan.side:
                self._set_side(plan, side)
                student = self._student(plan)
                probes = self._measure(plan, student)
            plan.reasons['scale'] = reason
        title(self.say, 'Check of the data')
        self.check()
        title(self.say, 'Choices')
        self._set_length(plan, probes, wanted, why)
        self._set_rate(plan, student)
        self._write(plan, student)
        for name, value, reason in plan.lines():
            self.say(f'  {name:11} {value:34} {reason}')
        self._predict(plan, probes)
        return plan

    @property
    def _labels(self) -> int:
        return self.data.counts['labeled']

    @property
    def _val_images(self) -> int:
        return self.data.counts['validation']

    def _spent(self) -> float:
        return time.time() - self.began

    def _say_load(self) -> None:
        busy = busy_cores()
        if busy is not None:
            tell(
                self.say,
                [
                    f'other programs keep {busy:.1f} of {usable_cores()} cores busy: '
                    'times are predicted for a machine that stays so'
                ],
            )

    def _first_plan(self) -> Plan:
        options, reasons = self.options, {}
        plan = Plan(workers=plans.workers_of(self.device), reasons=reasons)
        plan.batch, reasons['batch'] = plans.batch_of(self._labels)
        plan.precision, reasons['precision'] = self._precision()
        sides = plans.ladder(self.data.sizes)
        limit = plans.GPU_SIDE if self.device == 'cuda' else plans.CPU_SIDE
        side = max([s for s in sides if s <= limit], default=sides[0])
        reasons['scale'] = f'the largest up to {limit}, for a {self.device.upper()}'
        if side == sides[-1]:
            reasons['scale'] = 'the size of the images'
        elif self.seconds and self.seconds <= QUICK:
            side = sides[0]
            reasons['scale'] = 'the smallest that is tried'
        if options.scale:
            side, reasons['scale'] = options.scale, '--scale'
        self._set_side(plan, side)
        if options.batch:
            plan.batch, reasons['batch'] = options.batch, '--batch'
        return plan

    def _side(self, plan: Plan, probes: list[Probe], wanted: int) -> tuple[int, str]:
        """A long side for which enough iterations fit the time, and why."""

        def fits(side: int) -> int:
            larger = plans.area(sizes, side) / plans.area(sizes, plan.side)
            scaled = [
                p._replace(step=p.step * larger, val_image=p.val_image * larger)
                for p in probes
            ]
            again = 0 if side == plan.side else measuring
            return self._fit(scaled, again)[0]

        sizes = self.data.sizes
        seconds = plans.probe_seconds(self.seconds)
        measuring = sum(p.start + seconds for p in probes)
        return plans.side_of(plans.ladder(sizes), fits, wanted)

    def _set_rate(self, plan: Plan, student: Student) -> None:
        """What the configs will have, be the optimizer the user's or not."""
        given = self.options.rate
        if student.optimizer is not None:
            plan.rate = student.optimizer['optimizer'].get('lr', plan.rate)
            reason = f'{student.optimizer["optimizer"].get("type")}, as the config says'
        else:
            rates, reason = (plans.LEARNING_RATE, 1.0), 'AdamW'
            if student.pretrained:
                rates, more = plans.rates_of(plan.iterations, student.masks, given)
                reason += f'; {more}'
            plan.fast_heads = rates == plans.FAST_RATES
            rate, plan.backbone_rate = rates
            plan.rate = given or rate
        plan.reasons['rate'] = '--rate' if given else reason

    def _precision(self) -> tuple[str | None, str]:
        if given := self.options.precision:
            return None if given == 'fp32' else given, '--precision'
        if self.device == 'cuda':
            return 'fp16', 'faster on a GPU'
        if has_bfloat16():
            return 'bf16', 'this CPU has instructions for it'
        return None, 'this CPU has no instructions for bf16'

    def _set_side(self, plan: Plan, side: int) -> None:
        plan.side = side
        plan.crop, plan.reasons['crop'] = plans.crop_of(self.data.sizes, side)
        if self.options.crop:
            plan.crop, plan.reasons['crop'] = tuple(self.options.crop), '--crop'

    def _student(self, plan: Plan) -> Student:
        options = self.options
        if options.student is None:
            return default_student(options.from_scratch, options.methods[-1].masks)
        return own_student(
            options.student,
            len(self.data.table.classes),
            plan.crop,
            options.pretrained,
            options.from_scratch,
            options.rate,
        )

    def _measure(self, plan: Plan, student: Student) -> list[Probe]:
        """Time both methods; the batch is halved where memory does not suffice."""
        self._copy(plan)
        while True:
            self._write(dataclasses.replace(plan, measuring=True), student)
            try:
                return [self._measured(method, plan) for method in self.options.methods]
            except OutOfMemory:
                if plan.batch <= 2 or self.options.batch:
                    raise
                plan.batch //= 2
                plan.reasons['batch'] = 'halved until a step fits the memory'

    def _copy(self, plan: Plan) -> None:
        """Small copies where images are so large that reading them takes long."""
        usual = plans.usual_side(self.data.sizes)
        side = copy_side(usual, plan.side)
        if self.files != self.data.files:
            shutil.rmtree(os.path.dirname(self.files.labeled))  # of another side
        self.files = self.data.files
        if side is not None:
            folder = os.path.join(self.out, 'data', f'long-side-{side}')
            self.files = write_copies(self.files, folder, side)
            self.say(
                f'  copies      long side {side}, in place of images of {usual}: '
                'training sees no more; validation is on the originals'
            )

    def _measured(self, method, plan: Plan) -> Probe:
        extent = Extent(seconds=plans.probe_seconds(self.seconds))
        if not self.seconds:
            extent.steps = 30
        found = probe(config_path(self.out, method), extent)
        self.say(
            f'  measured    {method.name}: {found.step:.2f} s a step at long side '
            f'{plan.side}, {found.memory / 2**30:.1f} GB, {found.start:.0f} s to start'
        )
        return found

    def _set_length(
        self, plan: Plan, probes: list[Probe], wanted: int, why: str
    ) -> None:
        fits, times = wanted, 4
        if self.seconds:
            fits, times = self._fit(probes)
        plan.iterations, reason = plans.length(self.options.hours, fits, wanted, why)
        if self.options.iterations:
            plan.iterations, reason = self.options.iterations, '--iterations'
        plan.reasons['iterations'] = reason
        plan.val_interval = max(1, -(-plan.iterations // times))
        plan.warmup = max(1, min(100, plan.iterations // 10))

    def _fit(self, probes: list[Probe], more: float = 0.0) -> tuple[int, int]:
        """(iterations, validations) that fit the time that is left.

        Args:
            more: Seconds of it for something else.
        """
        starting = sum(p.start for p in probes) + self._report(probes)
        return plans.fit_iterations(
            self.seconds,
            sum(p.step + p.save / plans.SAVE_INTERVAL for p in probes),
            self._spent() + starting + more,
            sum(self._validation(p) for p in probes),
        )

    def _validation(self, found: Probe) -> float:
        """Seconds of a validation, and of the checkpoint of the best."""
        return self._val_images * found.val_image + found.save

    def _report(self, probes: list[Probe]) -> float:
        """Seconds of the report: a process that starts as the trainings do."""
        return max(found.start for found in probes)

    def _predict(self, plan: Plan, probes: list[Probe]) -> None:
        times = -(-plan.iterations // plan.val_interval)
        total = self._spent() + self._report(probes)
        for method, found in zip(self.options.methods, probes, strict=True):
            step = found.step + found.save / plans.SAVE_INTERVAL
            seconds = found.start + plan.iterations * step
            seconds += times * self._validation(found)
            total += seconds
            self.say(f'  predicted   {method.name}: {duration(seconds)}')
        self.say(f'  predicted   from the command to the table: {duration(total)}')
        if self.seconds and total > 1.2 * self.seconds:
            self.say(
                f'  NOTE: --hours {self.options.hours:g} is not enough: starting and '
                f'validating alone take most of it'
            )

    def _write(self, plan: Plan, student: Student) -> None:
        """One config of the data, one of each method."""
        data, folder = self.data, os.path.join(self.out, 'configs')
        os.makedirs(folder, exist_ok=True)
        texts = {
            'data.py': data_text(
                data.table, self.files, data.counts, plan, student.mean
            )
        }
        if student.model is not None:
            texts['student.py'] = student_text(student)
        for method in self.options.methods:
            texts[f'{method.folder}.py'] = method_text(
                method,
                student,
                plan,
                len(data.table.classes),
                folder,
                self.options.seed,
            )
        for name, text in texts.items():
            with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
                file.write(text)
