"""What the command line tools share: settings that a flag writes into a config."""

import sys
import traceback
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import CheckpointLoader

from .package_weights import PACKAGE_WEIGHTS, find_package_weights
from .pretrained_fit import named_tensors
from .tool_settings import complete_config

PACKAGE = Path(__file__).resolve().parents[1]
# Where tools and configs are: in a wheel, for an old mim, in a clone.
CONTENT = (PACKAGE.parent / '_mmsemiseg', PACKAGE / '.mim', PACKAGE.parent)

# Errors that a setting, a path or a missing package causes: the message is enough.
SETTING_ERRORS = (
    AssertionError,
    AttributeError,
    ImportError,
    KeyError,
    OSError,
    TypeError,
    ValueError,
)


def run_tool(main, debug=False):
    """Call `main()`; an error in the settings ends the process in one message.

    The message goes to stderr and the exit status is 1. With `debug`, and for errors
    that no setting explains, Python's traceback is printed as usual.
    """
    try:
        main()
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raised_here = PACKAGE in Path(where.filename).parents
        if debug or not (isinstance(error, SETTING_ERRORS) or raised_here):
            raise
        text = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(
            f'error: {type(error).__name__}: {text}\n'
            f'(raised in {where.filename}:{where.lineno}; '
            '--debug prints the whole traceback)',
            file=sys.stderr,
        )
        sys.exit(1)


def existing_file(path, setting):
    """`path` when it is a file or a URL, else FileNotFoundError naming `setting`."""
    if '://' not in str(path) and not Path(path).is_file():
        raise FileNotFoundError(f'{setting}: there is no file {path}')
    return str(path)


def existing_weights(path, setting):
    """Path or name of weights that exist, as `efficientnet-lite0`, else an error."""
    if str(path) in PACKAGE_WEIGHTS:
        find_package_weights(str(path))
        return str(path)
    try:
        return existing_file(path, setting)
    except FileNotFoundError as error:
        names = ', '.join(PACKAGE_WEIGHTS)
        text = f'{error}, and no weights have this name ({names})'
        raise FileNotFoundError(text) from None


def find_config(path):
    """`path`, or the one config of the package that has this bare name, as in `mim`."""
    if Path(path).exists() or Path(path).name != str(path):
        return path
    for folder in CONTENT:
        if (folder / 'model-index.yml').is_file():
            return next((folder / 'configs').rglob(str(path)), path)
    return path


def read_config(path):
    """The config in a file; an error names the file, and what a config is."""
    path = existing_file(find_config(path), 'config')
    try:
        return Config.fromfile(path)
    except Exception as error:
        text = str(error).strip() or type(error).__name__
        if Path(path).suffix not in ('.py', '.json', '.yaml', '.yml'):
            text = f'its name ends in {Path(path).suffix!r}'
        raise ValueError(
            f'config: {path} cannot be read as a config, which is a Python file of '
            f'settings, or JSON or YAML ({type(error).__name__}: {text})'
        ) from error


def load_config(path, cfg_options=None, work_dir=None, dump_as='config.py'):
    """Read a config, merge the options of the command line, choose the work folder.

    The work folder is `work_dir`, else the config's own, else `work_dirs/<name>`, where
    the name is the config's `experiment_name`, else its file's. The runner writes the
    config there as `dump_as` and not under its own name: `mim` takes a bare config name
    only where a single file of that name lies below the package's root, and for an
    editable installation that root includes `work_dirs/`. It gets what the tools
    of MMSegmentation look for in a config.
    """
    cfg = read_config(path)
    merge_options(cfg, cfg_options)
    name = cfg.get('experiment_name') or Path(path).stem
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / name)
    cfg.experiment_name = name
    if cfg.get('default_scope') is None:
        cfg.default_scope = 'mmseg'
    complete_config(cfg)
    object.__setattr__(cfg, '_filename', dump_as)
    return cfg


def merge_options(cfg, cfg_options):
    """Merge the options of the command line, if there are any.

    Raises:
        ValueError: `max_iters` is a variable of a config file, which is read while the
            file is; later nothing reads it.
    """
    if 'max_iters' in (cfg_options or ()) and 'train_cfg' in cfg:
        raise ValueError(
            f'--cfg-options max_iters={cfg_options["max_iters"]} changes nothing: the '
            'length of the run is train_cfg.max_iters'
        )
    cfg.merge_from_dict(cfg_options or {})


def student_configs(model):
    """The configs of the networks that a method, or a plain segmentor, trains."""
    students = model.get('students') or [model.get('student', model)]
    for student in students:
        if 'backbone' not in student:
            raise ValueError(
                '--pretrained needs model.student.backbone in the config, but the '
                f'model is {model.get("type")} with settings {sorted(model)}'
            )
    return students


def use_pretrained(model, file):
    """Start every student's backbone from the weights in `file`, without a network."""
    existing_weights(file, '--pretrained')
    for student in student_configs(model):
        student.pop('pretrained', None)
        student.backbone.pop('pretrained', None)
        student.backbone.init_cfg = dict(type='Pretrained', checkpoint=str(file))


def require_fit(backbone, file):
    """Raise ValueError when `file` holds no tensor that fits `backbone` (a module).

    Loading is not strict, so that a classifier's last layer may be left over. Without
    this check a wrong file would quietly mean random weights.
    """
    loaded = CheckpointLoader.load_checkpoint(str(file), map_location='cpu')
    loaded = {k.removeprefix('module.'): v for k, v in named_tensors(loaded)}
    own = backbone.state_dict()
    fits = [
        key
        for key, value in loaded.items()
        if key in own and getattr(value, 'shape', None) == own[key].shape
    ]
    if not fits:
        raise ValueError(
            f'--pretrained {file}: none of its {len(loaded)} entries '
            f'({", ".join(list(loaded)[:3])}, ...) fits the backbone '
            f'{type(backbone).__name__} ({", ".join(list(own)[:3])}, ...)'
        )


def use_amp(cfg, device, dtype=None):
    """Switch the optimizer wrapper to mixed precision.

    `dtype` is 'fp16', with a dynamic loss scale, or 'bf16', which needs none; None
    takes fp16 on an accelerator, as elsewhere in OpenMMLab, and bf16 on a CPU.
    """
    chosen = dtype is not None
    dtype = dtype or ('bf16' if device == 'cpu' else 'fp16')
    if device == 'cpu' and dtype == 'fp16':
        raise ValueError('--amp-dtype fp16 needs an accelerator; on a CPU use bf16')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise ValueError(
            f'--amp works with optim_wrapper.type=OptimWrapper, but it is {kind}'
        )
    if dtype == 'bf16':
        cfg.optim_wrapper.type = 'Bf16OptimWrapper'
        for setting in ('loss_scale', 'dtype', 'use_fsdp'):  # of AmpOptimWrapper
            cfg.optim_wrapper.pop(setting, None)
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')
        if chosen:
            cfg.optim_wrapper.pop('dtype', None)


def use_channels_last(cfg):
    """Lay out images, weights and moments so, which the runners here can."""
    if cfg.get('runner_type') not in ('SemiRunner', 'SelfTrainingRunner'):
        raise ValueError(
            "--channels-last needs runner_type='SemiRunner' or 'SelfTrainingRunner' in "
            f'the config, but it is {cfg.get("runner_type")!r}'
        )
    cfg.channels_last = True


def use_resume(cfg, resume):
    """`'auto'`: go on from the newest checkpoint in the work folder; else from a file.

    With `'auto'` and nothing to go on from, the run starts as it would without.
    """
    if resume != 'auto':
        cfg.resume, cfg.load_from = True, existing_file(resume, '--resume')
    elif cfg.get('runner_type') in ('SemiRunner', 'SelfTrainingRunner'):
        cfg.resume = 'auto'
    elif (Path(cfg.work_dir) / 'last_checkpoint').is_file():
        cfg.resume, cfg.load_from = True, None
    else:
        cfg.resume = cfg.get('load_from') is None
