import pytest
import torch
from helpers import build, spread, streams, student_cfg, total
from mmengine.optim import build_optim_wrapper

from mmsemiseg.engine.optim_wrapper import Bf16OptimWrapper


def test_bfloat16_forward_with_fp32_parameters():
    grads, losses, data = {}, [], streams()
    for wrapper_type in ('OptimWrapper', 'Bf16OptimWrapper'):
        model = build(dict(type='MeanTeacher', student=student_cfg(), mix=None)).train()
        spread(model.student, scale=0.1)
        optimizer = dict(type='SGD', lr=0.1)
        cfg = dict(type=wrapper_type, optimizer=optimizer)
        wrapper = build_optim_wrapper(model, cfg)
        assert isinstance(wrapper, Bf16OptimWrapper) is (wrapper_type != 'OptimWrapper')
        seen = []
        model.student.decode_head.conv_seg.register_forward_hook(
            lambda module, args, output, seen=seen: seen.append(output.dtype)
        )
        with wrapper.optim_context(model):
            loss = total(model.loss(data))
        assert loss.isfinite()
        assert loss.dtype == torch.float32
        expected = torch.float32 if wrapper_type == 'OptimWrapper' else torch.bfloat16
        assert set(seen) == {expected}
        loss.backward()
        params = list(model.student.parameters())
        assert {p.dtype for p in params} == {p.grad.dtype for p in params}
        assert {p.dtype for p in params} == {torch.float32}
        losses.append(loss.item())
        grads[wrapper_type] = torch.cat([p.grad.flatten() for p in params])
        wrapper.step()
        assert all(p.isfinite().all() for p in model.student.parameters())
    full, half = grads.values()
    assert not torch.equal(full, half)
    assert torch.cosine_similarity(full, half, dim=0) > 0.95
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
