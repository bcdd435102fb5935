from torch import nn

from mmsemiseg.benchmark.full_memories import fill_memories
from mmsemiseg.models import ClassQueueBank, FrequencyWindow, StepQueue


def test_all_memories_are_full():
    bank, queue = ClassQueueBank(3, 4, 2), StepQueue(5, 1, 2)
    window = FrequencyWindow(6, 3)
    model = nn.ModuleList([bank, nn.Linear(1, 1), queue, window])
    model.num_classes = 3
    assert fill_memories(model) == 3
    assert bank.ready('all') and window.full()
    assert queue.features.ne(0).all() and queue.labels.ge(0).all()
    assert set(queue.labels.tolist()) == {0, 1, 2}
    assert fill_memories(nn.Linear(1, 1)) == 0
