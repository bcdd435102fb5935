"""Settings of a method and its parts by path."""

import torch
from torch import nn

from mmsemiseg.utils.method_settings import settings_of


class Part(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight, self.start, self.bank = weight, 5, None


def test_parts_by_path():
    model = nn.Module()
    model.sup_weight, model.contrast, model.mask = 2.0, Part(0.1), Part(0)
    assert settings_of(model) == {
        'sup_weight': 2.0,
        'contrast.weight': 0.1,
        'contrast.start': 5,
        'contrast.bank': None,
    }


def test_a_layer_has_no_settings_but_plain_values():
    """Its weight is a tensor, and no factor of a loss."""
    model = nn.Module()
    model.head = nn.Linear(3, 2)
    assert settings_of(model) == {'head.in_features': 3, 'head.out_features': 2}
    assert torch.is_tensor(model.head.weight)
