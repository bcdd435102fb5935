"""Batches of a step, by the names of streams and views."""

from collections.abc import Iterator, Mapping

from .data_preprocessor import Batch


class Streams(Mapping):
    """Batches of one training step: ``{stream: Batch or {view: Batch}}``.

    A stream is a named source of training batches, a view one of several augmented
    versions of its images.

    Args:
        batches: What :class:`~mmsemiseg.models.SemiDataPreProcessor` returns.
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
        """Views of a stream by their names; they may show different crops.

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
        """Views of the unlabeled stream that match pixel by pixel.

        A stream with a single view gives this one for each name.

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
        """The batch of a stream without named views, which a method augments itself.

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
