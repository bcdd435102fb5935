"""Private names of the packages below: few, known, and in all supported releases.

`make test-classic` runs this file with the original OpenMMLab packages too.
"""

import ast
import inspect
from pathlib import Path

import pytest
import torch
from helpers import sample
from mmengine import optim
from mmengine.hooks import CheckpointHook
from mmengine.runner import IterBasedTrainLoop, Runner, checkpoint
from mmseg.models import SegDataPreProcessor
from mmseg.models.decode_heads.decode_head import BaseDecodeHead

from mmsemiseg.models import SemiDataPreProcessor

ROOT = Path(__file__).resolve().parents[1]
# Private names that the package reads, and where they come from. They must be in
# mmengine 0.10.7 and mmsegmentation 1.2.2 as well as in their continuation.
MMENGINE = {
    '_decide_current_val_interval': IterBasedTrainLoop,
    '_max_iters': IterBasedTrainLoop,
    '_init_model_weights': Runner,
    '_load_from': Runner,
    '_resume': Runner,
    '_save_checkpoint': CheckpointHook,
    '_test_loop': Runner,
    '_load_checkpoint_to_model': checkpoint,
    '_ParamScheduler': optim,
}
MMSEG = {
    '_channel_conversion': SegDataPreProcessor,
    '_enable_normalize': SegDataPreProcessor,
    '_transform_inputs': BaseDecodeHead,
}
OTHERS = {  # of torch and of named tuples
    '_BatchNorm',
    '_asdict',
    '_fields',
    '_foreach_lerp_',
    '_load_state_dict_pre_hooks',
    '_overloadpacket',
    '_profiler_enabled',
    '_register_load_state_dict_pre_hook',
    '_replace',
    '_scaled_dot_product_efficient_attention',
    '_scaled_dot_product_flash_attention_for_cpu',
    '_scaled_dot_product_flash_attention_for_cpu_backward',
    '_sequence_nr',
}


def private_names(text):
    """(those that a source reads, those that it defines)."""
    read, own = set(), set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            (own if isinstance(node.ctx, ast.Store) else read).add(node.attr)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            read.update(alias.name for alias in node.names)
    return [
        {name for name in names if name.startswith('_') and not name.startswith('__')}
        for names in (read, own)
    ]


def test_private_names_are_seen():
    text = 'from a import _b\nx._c = y._d\ndef _e(): return __f__\n_g = h.i'
    assert private_names(text) == [{'_b', '_d'}, {'_c', '_e', '_g'}]


def test_the_package_borrows_these_names_only():
    """A new one goes into the lists above if the original releases have it."""
    found = [private_names(p.read_text()) for p in (ROOT / 'mmsemiseg').rglob('*.py')]
    borrowed = set.union(*(read for read, _ in found))
    borrowed -= set.union(*(own for _, own in found))
    assert borrowed - {*MMENGINE, *MMSEG, *OTHERS} == set()


@pytest.mark.parametrize('name', [*MMENGINE, *MMSEG])
def test_their_owners_have_them(name):
    owner = {**MMENGINE, **MMSEG}[name]
    assert name in inspect.getsource(owner)


@pytest.mark.parametrize('name', ['_channel_conversion', 'channel_conversion'])
def test_the_order_of_channels_has_a_name_of_our_own(name):
    """It has one of these two in SegDataPreProcessor, according to the release."""
    preprocessor = SemiDataPreProcessor(bgr_to_rgb=True)
    vars(preprocessor).pop(name, None)
    image = torch.arange(3.0)[:, None, None].expand(3, 4, 4)
    data = dict(inputs=[image], data_samples=[sample(size=(4, 4))])
    out = preprocessor(dict(labeled=data), training=True)['inputs']['labeled']
    assert out.inputs[0, :, 0, 0].tolist() == [2, 1, 0]
