"""Settings of model, data and metrics that contradict each other."""

from types import SimpleNamespace

import pytest
from mmengine.registry import DefaultScope
from mmseg.datasets.transforms import RandomCrop, RandomRotate
from torch import nn

from mmsemiseg.datasets import PseudoMaskDataset
from mmsemiseg.datasets.checks import StreamFiles, model_settings
from mmsemiseg.datasets.checks.agreement import setting_problems


def data(classes=('a', 'b'), ignore=255, reduce=False, steps=(), label_map=None):
    return SimpleNamespace(
        metainfo=dict(classes=classes),
        ignore_index=ignore,
        reduce_zero_label=reduce,
        label_map=label_map,
        pipeline=SimpleNamespace(transforms=list(steps)),
    )


class Head(nn.Module):
    def __init__(self, num_classes=2, out_channels=None, ignore=255, loss=None):
        super().__init__()
        self.num_classes, self.ignore_index = num_classes, ignore
        self.out_channels = out_channels or num_classes
        self.loss_decode = loss or nn.Identity()


class Net(nn.Module):
    def __init__(self, *heads, auxiliary=None, padding=255):
        super().__init__()
        many = nn.ModuleList(heads)
        self.decode_head = heads[0] if len(heads) == 1 else many
        if auxiliary is not None:
            self.auxiliary_head = auxiliary
        self.data_preprocessor = SimpleNamespace(seg_pad_val=padding)


def method(net):
    model = nn.Module()
    model.pairs = [SimpleNamespace(student=net)]
    model.student = net
    model.data_preprocessor = net.data_preprocessor
    return model


def check(model=None, evaluators=None, **datasets):
    files = {
        name: StreamFiles(['i'], [None if name == 'unlabeled' else 'm'], True)
        for name in datasets
    }
    return setting_problems(datasets, files, model_settings(model, evaluators))


def test_what_agrees_passes():
    net = Net(Head(), Head(), auxiliary=nn.ModuleList([Head()]))
    metric = dict(type='mmseg.IoUMetric')
    loose = data(classes=None)
    found = check(
        method(net),
        dict(val_evaluator=[metric]),
        labeled=data(),
        unlabeled=loose,
        val=data(),
    )
    assert found == ([], [])


@pytest.mark.parametrize(
    'net, place',
    [
        (Net(Head(1, 2)), 'model.student.decode_head'),
        (Net(Head(2), Head(1, 2)), r'model.student.decode_head[1]'),
        (Net(Head(2), auxiliary=Head(1, 2)), 'model.student.auxiliary_head'),
    ],
)
def test_a_head_with_fewer_classes_than_the_data(net, place):
    problems, notes = check(method(net), labeled=data(), unlabeled=data(None))
    assert notes == []
    assert problems == [
        f'{place} has 1 classes, but train_dataloader.labeled.dataset has 2: set '
        'num_classes=2 in the head'
    ]


def test_a_head_with_more_classes_is_noted():
    problems, notes = check(Net(Head(3)), labeled=data())
    assert problems == []
    assert notes == [
        'model.decode_head has 3 classes, but train_dataloader.labeled.dataset has 2: '
        'the others are never learned'
    ]


def test_one_sigmoid_tells_two_classes_and_a_head_of_boundaries_none():
    edges = Head(5)
    edges.boundary_threshold = 0.1
    assert check(Net(Head(1, 1), auxiliary=edges), labeled=data()) == ([], [])


@pytest.mark.parametrize(
    'classes, words',
    [
        (('a', 'b', 'c'), 'have 2 and 3 classes'),
        (('a', 'x'), "have different classes, the first at 1: 'b' and 'x'"),
    ],
)
def test_classes_of_training_and_validation_differ(classes, words):
    problems, _ = check(labeled=data(), val=data(classes))
    assert problems == [
        'train_dataloader.labeled.dataset and val_dataloader.dataset '
        f'{words}: a model has one list of classes'
    ]


def test_another_ignored_label_everywhere_is_right():
    steps = [RandomRotate(prob=1, degree=5, seg_pad_val=9), RandomCrop((4, 4))]
    dataset = data(ignore=9, steps=steps)
    metric = dict(type='mmseg.IoUMetric', ignore_index=9)
    net = Net(Head(ignore=9), padding=9)
    evaluators = dict(val_evaluator=metric)
    assert check(method(net), evaluators, labeled=dataset, val=dataset) == ([], [])


@pytest.mark.parametrize(
    'changed, place',
    [
        (dict(padding=9), 'model.data_preprocessor.seg_pad_val'),
        (dict(auxiliary=Head(ignore=9)), 'model.student.auxiliary_head.ignore_index'),
    ],
)
def test_places_of_the_model_that_ignore_another_label(changed, place):
    problems, _ = check(method(Net(Head(), **changed)), labeled=data())
    assert len(problems) == 1 and f'9 by {place}' in problems[0]
    assert '255 by model.student.decode_head.ignore_index' in problems[0]


def test_places_of_the_data_and_metrics_that_ignore_another_label():
    steps = [RandomRotate(prob=1, degree=5), RandomCrop((4, 4), cat_max_ratio=0.7)]
    dataset = data(ignore=9, reduce=True, steps=steps, label_map={0: 0, 1: 255})
    metric = dict(type='mmseg.IoUMetric', ignore_index=7)
    (problem, *_), _ = check(None, dict(val_evaluator=metric), labeled=dataset)
    place = 'train_dataloader.labeled.dataset'
    assert f'9 by {place}.ignore_index' in problem
    assert '7 by val_evaluator (IoUMetric).ignore_index' in problem
    for name in (
        '.reduce_zero_label=True (which writes 255)',
        ' (whose mapping to classes writes 255)',
        '.pipeline (RandomRotate).seg_pad_val',
        '.pipeline (RandomCrop).ignore_index',
    ):
        assert f'{place}{name}' in problem.split('255 by')[1]


def test_a_loss_that_its_head_does_not_tell():
    class Deaf(nn.Module):
        ignore_index = 9

        def forward(self, logits, label):
            return logits

    class Told(Deaf):
        def forward(self, logits, label, ignore_index):
            return logits

    (problem,), _ = check(Net(Head(loss=Deaf())), labeled=data())
    assert '9 by model.decode_head.loss_decode[0].ignore_index' in problem
    assert check(Net(Head(loss=Told())), labeled=data()) == ([], [])


def test_reduce_zero_label_in_one_dataset_alone():
    (problem,), _ = check(labeled=data(reduce=True), val=data())
    assert problem.startswith(
        'reduce_zero_label is True in train_dataloader.labeled.dataset, but not in '
        'val_dataloader.dataset'
    )
    both = SimpleNamespace(datasets=[data(reduce=True), data()])
    assert check(labeled=both, val=data(reduce=True)) == ([], [])


def test_pseudo_masks_are_written_with_the_numbers_of_classes():
    pseudo = PseudoMaskDataset(lazy_init=True, metainfo=dict(classes=('a', 'b')))
    real = data(reduce=True)
    assert check(labeled=real, pseudo=pseudo, val=real) == ([], [])


def test_reduce_zero_label_in_the_pipeline_alone():
    from mmseg.datasets.transforms import LoadAnnotations

    with pytest.warns(UserWarning), DefaultScope.overwrite_default_scope('mmseg'):
        load = LoadAnnotations(reduce_zero_label=True)
    (problem,), _ = check(labeled=data(steps=[load]))
    assert problem.startswith(
        'train_dataloader.labeled.dataset has reduce_zero_label=False, but its '
        'LoadAnnotations True'
    )
