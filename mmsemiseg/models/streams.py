"""Batches of a step, by stream and view."""

from collections.abc import Iterator, Mapping

from .data_preprocessor import Batch


class Streams(Mapping):
    """Batches of one training step: ``{stream: Batch or {view: Batch}}``.

    Args:
        batches: What :class:`~mmsemiseg.models.SemiDataPreProcessor` gives.
    """

    def __init__(self, batches: Mapping) -> None:
        self._batches = batches

    def __getitem__(self, name: str) -> 'Batch | Mapping[str, Batch]':
        if name not in self._batches:
            raise ValueError(
                f'this method needs a stream {name!r}, but train_dataloader has '
                f'{sorted(self._batches)}'
            )
        return self._batches[name]

    def __contains__(self, name: object) -> bool:
        return name in self._batches

    def __iter__(self) -> Iterator[str]:
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    @property
    def labeled(self) -> Batch:
        """Labeled images."""
        return self['labeled']

    def batches(self, name: str) -> list[Batch]:
        """All views of a stream, in their order."""
        stream = self[name]
        return [stream] if isinstance(stream, Batch) else list(stream.values())

    def views(self, names: tuple[str, ...], stream: str = 'unlabeled') -> list[Batch]:
        """Named views of a stream, which may show different places.

        Raises:
            ValueError: The stream has no such view.
        """
        views = self[stream]
        found = [] if isinstance(views, Batch) else sorted(views)
        missing = [name for name in names if name not in found]
        if missing:
            raise ValueError(
                f'the {stream} stream has the views {found}, but the method needs '
                f'{missing}: see MultiView and OverlapCrops in its pipeline'
            )
        return [views[name] for name in names]

    def unlabeled(self, names: tuple[str, ...]) -> list[Batch]:
        """Views of one geometry; a stream with a single view gives it for each name.

        Raises:
            ValueError: The stream has no such view, or they differ in size.
        """
        views = self['unlabeled']
        if isinstance(views, Batch):
            return [views] * len(names)
        found = self.views(names)
        sizes = [tuple(view.inputs.shape) for view in found]
        if len(set(sizes)) > 1:
            raise ValueError(
                f'the views {tuple(names)} must have one geometry, but have the sizes '
                + ' and '.join(str(size[2:]) for size in sizes)
            )
        return found

    def single(self, name: str = 'unlabeled') -> Batch:
        """A stream that has one view: plain crops, which a method augments itself.

        Raises:
            ValueError: The stream has named views.
        """
        stream = self[name]
        if isinstance(stream, Batch):
            return stream
        raise ValueError(
            f'the {name} stream must have one view, of plain crops, which this method '
            f'augments on the device, but has the views {sorted(stream)}. Leave '
            'MultiView out of its pipeline and end it with PackUnlabeledInputs'
        )
