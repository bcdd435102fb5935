import pytest
import torch
from tiny_run import build, config, sup_only, train, weights, write_data

from mmsemiseg.engine.checkpoints import CheckpointError
from mmsemiseg.engine.checkpoints.finite import describe_broken, not_finite
from mmsemiseg.engine.hooks.reload_best import reload_weights
from mmsemiseg.utils.model import unwrap

NAN, INF = float('nan'), float('inf')


def test_tensors_of_every_kind():
    tensors = dict(
        number=torch.ones((), dtype=torch.float64),
        nan=torch.tensor([[1, NAN]]),
        inf=torch.tensor([-INF], dtype=torch.float16),
        whole=torch.tensor([2**62]),
        empty=torch.ones(0),
        half=torch.tensor([1.0, INF], dtype=torch.bfloat16),
        attn_mask=torch.tensor([0, -INF]),
        other_mask=torch.tensor([0, NAN]),
    )
    assert not_finite(tensors) == ['nan', 'inf', 'half', 'other_mask']
    assert not_finite({}) == []


def test_description():
    state = {f'w{i}': torch.tensor(NAN) for i in range(5)}
    moments = {'state': {0: {'exp_avg_sq': torch.tensor(INF), 'step': 3}}}
    good = dict(state_dict=dict(w=torch.ones(1)), optimizer=dict(param_groups=[{}]))
    assert describe_broken(good) == ''
    assert describe_broken({}) == ''
    text = 'w0, w1, w2 and 2 more are not finite (NaN or infinite)'
    assert describe_broken(dict(state_dict=state)) == text
    text = 'optimizer.state.0.exp_avg_sq is not finite (NaN or infinite)'
    assert describe_broken(dict(good, optimizer=moments)) == text


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp('data'))


def small(data, folder, **settings):
    cfg = config(data, folder, sup_only(), max_iters=4, **settings)
    del cfg.train_dataloader.unlabeled
    cfg.default_hooks.checkpoint.interval = 2
    cfg.default_hooks.losses = dict(type='LossMonitorHook')
    return cfg


def broken_gradient(cfg, iteration):
    """Train until the gradient of one parameter is NaN, with a finite loss."""
    runner = build(cfg)
    bias = unwrap(runner.model).student.decode_head.conv_seg.bias

    def spoil(gradient):
        return gradient * NAN if runner.iter + 1 == iteration else gradient

    bias.register_hook(spoil)
    with pytest.raises(FloatingPointError) as error:
        runner.train()
    return runner, str(error.value)


def test_a_nan_gradient_at_a_checkpoint_is_not_saved(data, tmp_path):
    folder = tmp_path / 'run'
    runner, text = broken_gradient(small(data, folder), 4)
    assert 'after iteration 4 pairs.0.student.decode_head.conv_seg.bias,' in text
    assert f'Go on from {folder}/iter_2.pth (--resume) with a smaller' in text
    assert [p.name for p in folder.glob('*.pth*')] == ['iter_2.pth']
    assert (folder / 'last_checkpoint').read_text() == f'{folder}/iter_2.pth'
    assert train(small(data, folder, resume='auto')).iter == 4


def test_a_nan_gradient_between_checkpoints(data, tmp_path):
    """The next loss shows it; the checkpoint that is advised is finite."""
    folder = tmp_path / 'run'
    _, text = broken_gradient(small(data, folder), 3)
    assert text.startswith('sup.decode.loss_ce = nan at iteration 4. Go on from ')
    assert f'{folder}/iter_2.pth' in text


def test_broken_weights_are_not_loaded(data, tmp_path):
    cfg = small(data, tmp_path / 'a')
    runner = build(cfg)
    state = weights(runner)
    name = next(k for k in state if k.endswith('running_var'))
    state[name][0] = INF
    path = str(tmp_path / 'weights.pth')
    torch.save(dict(state_dict=state), path)
    for load in (runner.load_checkpoint, lambda p: reload_weights(runner.model, p)):
        with pytest.raises(CheckpointError, match=f'of no use: {name} is not finite'):
            load(path)
