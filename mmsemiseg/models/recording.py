"""What runs inside a segmentor, recorded for the time of one call."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from torch import Tensor, nn


def heads_of(segmentor: nn.Module) -> list[nn.Module]:
    """The decode heads in the order in which they run; a cascade has several.

    Raises:
        TypeError: ``segmentor`` has no backbone-and-head structure.
    """
    head = getattr(segmentor, 'decode_head', None)
    if head is None or not hasattr(segmentor, 'extract_feat'):
        raise TypeError(
            'segmentor must be an EncoderDecoder or CascadeEncoderDecoder of '
            f'MMSegmentation, but got {type(segmentor).__name__}'
        )
    heads = list(head) if isinstance(head, nn.ModuleList) else [head]
    return [getattr(head, '_orig_mod', head) for head in heads]


def seen(head: nn.Module) -> Callable:
    """A call of the head that hooks see.

    Code that ``torch.compile`` made of a head knows the hooks of the first call and no
    later ones. MMSegmentation's own losses and predictions run a head uncompiled too:
    they call its ``forward``.
    """
    compiled = getattr(head, '_compiled_call_impl', None) is not None
    return head.forward if compiled else head


def dropout_before(head: nn.Module, path: str) -> nn.Module | None:
    """The dropout in front of the layer at ``path``, or None."""
    dropout = getattr(head.get_submodule(path.rpartition('.')[0]), 'dropout', None)
    return dropout if isinstance(dropout, nn.Module) else None


@contextmanager
def without_dropout(head: nn.Module, path: str) -> Iterator[None]:
    """Switch off the dropout in front of the layer at ``path``, and no other."""
    dropout = dropout_before(head, path)
    training = dropout is not None and dropout.training
    try:
        if training:
            dropout.training = False
        yield
    finally:
        if training:
            dropout.training = True


@contextmanager
def recorded_inputs(
    head: nn.Module, path: str
) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Collect (input before dropout, output) of every call of the layer at ``path``."""
    calls, dropped = [], []

    def see_dropout(module, args, output):
        dropped[:] = [(args[0], output)]

    def see_classifier(module, args, output):
        before = [x for x, y in dropped if y is args[0]]
        calls.append((before[0] if before else args[0], output))

    handles = [head.get_submodule(path).register_forward_hook(see_classifier)]
    dropout = dropout_before(head, path)
    if dropout is not None:
        handles.append(dropout.register_forward_hook(see_dropout))
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


class Reached(Exception):
    """A layer was reached before which a forward pass ends."""


@contextmanager
def ended_before(head: nn.Module, path: str) -> Iterator[list[Tensor]]:
    """End a forward pass of the head before the layer at ``path``.

    Collects the input of the layer, that before dropout. The pass raises
    :class:`Reached`, which ends with this context.
    """
    inputs, dropped = [], []

    def see_dropout(module, args, output):
        dropped[:] = [(args[0], output)]

    def see_classifier(module, args):
        before = [x for x, y in dropped if y is args[0]]
        inputs.append(before[0] if before else args[0])
        raise Reached

    handles = [head.get_submodule(path).register_forward_pre_hook(see_classifier)]
    dropout = dropout_before(head, path)
    if dropout is not None:
        handles.append(dropout.register_forward_hook(see_dropout))
    try:
        with suppress(Reached):
            yield inputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def recorded_results(module: nn.Module, method: str) -> Iterator[list]:
    """Collect what each call of a method gives."""
    results = []
    original = getattr(module, method)
    before = vars(module).get(method)  # somebody else may have hidden it already

    def recording(*args, **kwargs):
        results.append(original(*args, **kwargs))
        return results[-1]

    setattr(module, method, recording)  # hides the method of the class
    try:
        yield results
    finally:
        delattr(module, method)
        if before is not None:
            setattr(module, method, before)
