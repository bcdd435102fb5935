"""Memories of a method, as they are after many steps."""

import torch
import torch.nn.functional as F

from ..models import ClassQueueBank, FrequencyWindow, SemiSegmentor, StepQueue


def fill_memories(model: SemiSegmentor) -> int:
    """Random rows of unit length in every place of all memories; how many there are.

    Queues of classes get as many rows of each class.
    """
    kinds = (ClassQueueBank, FrequencyWindow, StepQueue)
    memories = [module for module in model.modules() if isinstance(module, kinds)]
    for memory in memories:
        if isinstance(memory, FrequencyWindow):
            memory.enqueue(torch.ones_like(memory.counts))
            continue
        rows = F.normalize(torch.randn_like(memory.features.flatten(0, -2)), dim=1)
        labels = torch.arange(len(rows), device=rows.device) % model.num_classes
        memory.enqueue(rows, labels)
    return len(memories)
