"""The whole look at a config, and what came of it."""

import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..start.audit import class_lines
from . import data, dry_run, environment
from .data import DataLook
from .findings import Finding, ranked
from .run_checks import RunLook
from .settings import loaders_of, setting_findings


class Report(NamedTuple):
    """Rows of each part, the table of classes, and the findings, the gravest first."""

    config: str
    environment: dict[str, str]
    data: dict[str, str]
    classes: list[str]
    settings: dict[str, str]
    dry_run: dict[str, str]
    findings: list[Finding]
    numbers: dict[str, Any]

    def number(self, level: str) -> int:
        """How many findings there are of a level."""
        return sum(finding.level == level for finding in self.findings)


def examine(
    cfg: Config,
    name: str,
    steps: int = 2,
    quick: bool = False,
    progress: Callable = iter,
) -> Report:
    """Look at the machine, the data, the settings, and try some steps.

    Nothing is written into the work folder.

    Args:
        cfg: Config of a run, with a work folder.
        name: Name of the config, for the report.
        steps: Number of steps that are timed; 0: none is done.
        quick: Whether only headers and some masks are read, and images are not
            compared.
        progress: Function that wraps an iterator over files.

    Raises:
        ValueError: The config has no data.
    """
    init_default_scope(cfg.get('default_scope') or 'mmseg')
    machine = environment.look_at_machine(cfg.work_dir)
    findings = environment.environment_findings(machine)
    with tempfile.TemporaryDirectory(prefix='mmsemiseg-doctor-') as folder:
        run = RunLook(cfg, folder)
        look = DataLook(cfg, run.model, quick, progress)
        streams = loaders_of(cfg)
        run.check(
            trains=bool(streams) and set(streams) <= set(look.streams),
            validates='val' in look.streams,
        )
        findings += setting_findings(cfg, look, run.model, machine)
        findings += look.findings
        run.close()
        findings += run.findings
        rows, numbers = _skipped(findings, steps, run), {}
        if not rows:
            tried = dry_run.dry_run(cfg, folder, machine, steps, run.length)
            findings += tried.findings
            images = len(look.files['val'].images) if 'val' in look.files else 0
            if tried.probe is None:
                rows = dict(result='failed, see the findings')
            else:
                rows = dry_run.describe(tried.probe, run.length, images, machine)
                numbers = tried.probe._asdict()
                parts = dry_run.seconds_of(tried.probe, run.length, images)
                numbers['seconds'] = parts
    return Report(
        name,
        environment.describe(machine),
        data.describe(look),
        class_lines(look.inspected),
        _settings(cfg, look, run),
        rows,
        ranked(findings),
        numbers,
    )


def _skipped(findings: list[Finding], steps: int, run: RunLook) -> dict[str, str]:
    if not steps:
        return dict(result='left out: --no-run')
    if any(finding.level == 'error' for finding in findings):
        return dict(result='left out: the errors below come first')
    if run.length is None:
        return dict(result='left out: there is nothing to train')
    return {}


def _settings(cfg: Config, look: DataLook, run: RunLook) -> dict[str, str]:
    """What the run is, in words."""
    rows = dict(model=type(run.model).__name__ if run.model is not None else 'none')
    filters = getattr(run.model, 'filters', None) or {}
    if filters:
        rows['filters'] = ', '.join(
            f'{name}={value}' for name, value in filters.items()
        )
    optimizer = (cfg.get('optim_wrapper') or {}).get('optimizer') or {}
    if optimizer:
        rows['optimizer'] = f'{optimizer.get("type")}, lr {optimizer.get("lr")}'
    for name, loader in loaders_of(cfg).items():
        rows[name] = f'{loader.get("batch_size")} images a step'
        if run.length is not None and name in run.length.passes:
            rows[name] += f', {run.length.passes[name]:.1f} passes over its images'
    if run.length is not None:
        rows['length'] = (
            f'{run.length.iterations} iterations, {run.length.validations} validations'
        )
        if run.first_stage:
            rows['length'] += '; the second stage of the self-training is as long'
    return rows
