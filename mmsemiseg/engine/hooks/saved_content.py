"""Checks of what a checkpoint holds, before it is saved."""

from mmengine.hooks import Hook

from ..checkpoints import describe_broken, describe_way_on, plain_values


class SavedContentHook(Hook):
    """Save only finite numbers, in tensors and plain containers.

    A gradient that is not a number breaks the weights in the step after which they are
    saved, while the loss of that step is still finite. So all networks, banks,
    statistics and optimizer moments are checked at each save, before a file is written.
    """

    priority = 'LOWEST'

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        broken = describe_broken(checkpoint)
        if broken:
            raise FloatingPointError(
                f'after iteration {checkpoint["meta"]["iter"]} {broken}, so nothing '
                'was saved: a gradient of this or an earlier iteration was not a '
                f'finite number. {describe_way_on(runner.work_dir)}'
            )
        content = plain_values(checkpoint)
        checkpoint.clear()
        checkpoint.update(content)
