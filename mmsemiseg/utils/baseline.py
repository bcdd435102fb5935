"""The supervised baseline of a config: its labels alone, as many steps."""

from mmengine.config import ConfigDict

from .launch import student_configs

# They move what the baseline does not have, or look at it
HOOKS = (
    'MeanTeacherHook',
    'MemoryHook',
    'PrototypeInitHook',
    'PseudoLabelAuditHook',
)


def use_sup_only(cfg):
    """Let a config train one student by its labeled stream alone.

    Labeled batches, optimizer, schedule and length stay. A method that itself augments
    the labeled images (`weak_augment`, as CMB has it) stays, with no other loss: the
    baseline must not lack what the labels get there.
    """
    if cfg.model.get('weak_augment'):
        loss = dict(cfg.model.get('pseudo_loss') or {}, weight=0)
        cfg.model.update(pseudo_loss=loss, entropy=None, contrast=None)
    else:
        _replace_model(cfg)
    cfg.experiment_name = f'{cfg.get("experiment_name") or "run"}_sup-only'
    cfg.resume = False
    cfg.pop('self_training', None)
    if cfg.get('runner_type') == 'SelfTrainingRunner':
        cfg.runner_type = 'SemiRunner'


def _replace_model(cfg):
    model = dict(type='SupOnly', student=student_configs(cfg.model)[0])
    if 'data_preprocessor' in cfg.model:
        model['data_preprocessor'] = cfg.model.data_preprocessor
    cfg.model = ConfigDict(model)
    if 'labeled' not in cfg.train_dataloader:
        raise ValueError(
            '--sup-only needs the stream train_dataloader.labeled, but the config has '
            f'{sorted(cfg.train_dataloader)}'
        )
    cfg.train_dataloader = ConfigDict(labeled=cfg.train_dataloader.labeled)
    hooks = cfg.get('custom_hooks') or []
    cfg.custom_hooks = [hook for hook in hooks if not _needs_more(hook)]
    checkpoint = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if isinstance(checkpoint.get('save_best'), str):
        network, _, metric = checkpoint.save_best.partition('/')
        if metric:
            checkpoint.save_best = f'student/{metric}'
    if cfg.get('val_cfg'):
        cfg.val_cfg.pop('networks', None)


def _needs_more(hook):
    values = str([hook.get(name) for name in ('stream', 'metric', 'networks')])
    if hook.type == 'BatchNormReestimationHook' and 'stream' not in hook:
        return True  # it takes the unlabeled images
    return hook.type in HOOKS or 'unlabeled' in values or 'teacher' in values
