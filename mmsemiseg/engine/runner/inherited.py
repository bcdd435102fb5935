"""Settings that a config of plain MMSegmentation leaves to the loop of streams."""

from collections.abc import Mapping
from typing import Any


def check_inherited(train_cfg: Any) -> None:
    """Refuse lengths in epochs in the ``train_cfg`` of a loop that counts iterations.

    Raises:
        ValueError: They come from the config in ``_base_``; says how to replace them.
    """
    if not isinstance(train_cfg, Mapping):
        return
    kind = getattr(train_cfg.get('type'), '__name__', train_cfg.get('type'))
    if kind == 'SemiTrainLoop' and 'max_epochs' in train_cfg:
        raise ValueError(
            f'train_cfg.max_epochs={train_cfg["max_epochs"]}, perhaps of the config in '
            '_base_, is no setting of SemiTrainLoop, since an epoch of several streams '
            'has no one length. Write train_cfg=dict(_delete_=True, '
            "type='SemiTrainLoop', max_iters=..., val_interval=...), and a "
            'param_scheduler and a default_hooks.checkpoint with by_epoch=False'
        )
