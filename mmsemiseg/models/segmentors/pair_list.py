"""All pairs of student and teacher of a method."""

from itertools import combinations

import torch
from mmengine.model import ModuleList
from torch import Tensor, nn

from ...utils.settings import did_you_mean
from ..parts import errors_in
from .pair import Pair

HEADS = ('decode_head.', 'auxiliary_head.')
SETTINGS = ('mode', 'buffers')


class PairList(ModuleList):
    """Pairs of student and teacher, with a name for each network and each mean.

    A mean, such as ``'mean_teachers'``, averages probabilities. The list also fits
    checkpoints of plain segmentors to the pairs.

    >>> pairs = PairList([Pair(nn.Linear(1, 1)), Pair(nn.Linear(1, 1))])
    >>> list(pairs.networks)
    ['student0', 'student1', 'teacher0', 'teacher1']
    >>> list(pairs.means)
    ['mean', 'mean_students', 'mean_teachers']
    >>> pairs.numbered('loss_ct', 1)
    'loss_ct1'
    """

    _distinct = False

    def numbered(self, name: str, index: int) -> str:
        """The name with the number of the pair, if there are several pairs."""
        return f'{name}{index}' if len(self) > 1 else name

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Name -> segmentor, students first."""
        return {
            self.numbered(kind, index): getattr(pair, kind)
            for kind in ('student', 'teacher')
            for index, pair in enumerate(self)
            if getattr(pair, kind) is not None
        }

    @property
    def means(self) -> dict[str, list[nn.Module]]:
        """Name -> networks whose probabilities are averaged for a prediction."""
        named = self.networks
        means = dict(mean=list(named.values()))
        for kind in ('student', 'teacher') if len(self) > 1 else ():
            found = [net for name, net in named.items() if name.startswith(kind)]
            if found:
                means[f'mean_{kind}s'] = found
        return means

    def check_distinct(self) -> None:
        """Refuse students that start equal, as they would stay equal; checked once."""
        if self._distinct:
            return
        students = [_learned_parameters(pair.student) for pair in self]
        for (i, one), (j, other) in combinations(enumerate(students), 2):
            if all(map(torch.equal, one, other)):
                raise ValueError(
                    f'students {i} and {j} start with equal parameters, so they cannot '
                    'teach each other: their heads must be initialised at random. Give '
                    'the weights of a whole network by load_from, which leaves out the '
                    'heads (with load_heads=True those of all but the first student), '
                    'not by init_cfg'
                )
        self._distinct = True

    def fill_from_plain(self, state: dict, prefix: str, load_heads: bool) -> None:
        """A checkpoint of a plain segmentor becomes one of all networks, in place.

        Args:
            state: Tensors of the checkpoint by name.
            prefix: Prefix of the names of the method that has these pairs.
            load_heads: Whether the heads of the first pair are filled too.
        """
        if any(key.startswith(f'{prefix}pairs.') for key in state):
            return
        own_names = self[0].student.state_dict()
        values = {k: state.pop(prefix + k) for k in own_names if prefix + k in state}
        for index, pair in enumerate(self if values else ()):
            place = f'{prefix}pairs.{index}.'
            state[f'{place}steps'] = torch.tensor(0)
            own = pair.student.state_dict()
            heads = load_heads and index == 0
            filled: dict[str, Tensor] = {
                key: value if heads or not key.startswith(HEADS) else own[key]
                for key, value in values.items()
            }
            for kind in ('student', 'teacher'):
                if getattr(pair, kind) is not None:
                    state.update({f'{place}{kind}.{k}': v for k, v in filled.items()})


def _learned_parameters(student: nn.Module) -> list[Tensor]:
    """The parameters on which the pseudo labels of a student depend."""
    named = student.named_parameters()
    return [p for name, p in named if not name.startswith('auxiliary_head.')]


def make_pair(student: nn.Module, teacher: dict | None) -> Pair:
    """A pair with the teacher of these settings; None: a student alone.

    Raises:
        ValueError: A setting is none of ``mode`` and ``buffers``, or wrong.
    """
    if teacher is None:
        return Pair(student, with_teacher=False)
    unknown = sorted(set(teacher) - set(SETTINGS))
    if unknown:
        raise ValueError(
            f'model.teacher has no setting {unknown[0]!r}'
            f'{did_you_mean(unknown[0], SETTINGS)}: it has {list(SETTINGS)}'
        )
    with errors_in('model.teacher', SETTINGS):
        return Pair(student, **teacher)
