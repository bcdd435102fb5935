"""What a checkpoint may hold."""

from mmengine.hooks import Hook

from ..checkpoints import describe_broken, describe_way_on, plain_values


class SavedContentHook(Hook):
    """A checkpoint of tensors and plain containers alone, and of finite numbers.

    A gradient that is not a number breaks the weights in the step after which they are
    saved, while the loss of that step is still finite. So each network, bank, statistic
    and moment of the optimizer is looked at, once a save, before a file is written.
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
