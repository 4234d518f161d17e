"""A training whose numbers are no numbers any more ends, and leaves good checkpoints."""

import warnings

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.utils.data import Dataset

from casvit_mm.engine import checkpoints, divergence, hooks, loops  # noqa: F401  they register
from casvit_mm.errors import DivergedError
from casvit_mm.weights.reading import load_file

EPOCH = 4  # iterations


class _Numbers(Dataset):
    def __len__(self):
        return EPOCH

    def __getitem__(self, index):
        return torch.tensor([float(index + 1)])


class _BadGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float('nan')


class _Model(BaseModel):
    """Two losses of one weight; ``fault`` happens in the iterations ``at``."""

    def __init__(self, fault='', at=()):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.fault, self.at, self.iteration = fault, at, 0

    def forward(self, inputs, mode='tensor', **_):
        loss = (torch.stack(inputs) * self.weight).mean()
        other = loss.detach() * 0
        if self.iteration in self.at:
            if self.fault == 'loss':
                other = other + float('inf')
            elif self.fault == 'gradient':
                loss = _BadGradient.apply(loss)
            elif self.fault:
                raise ValueError(self.fault)
        self.iteration += 1
        return dict(loss_box=loss, loss_cls=other, acc=torch.tensor(float('nan')))

    def train_step(self, data, optim_wrapper):
        return super().train_step(dict(inputs=data), optim_wrapper)


class _Scaled(OptimWrapper):
    """As MMEngine's AmpOptimWrapper, which takes no CPU."""

    def __init__(self, **settings):
        super().__init__(**settings)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            self.loss_scaler = torch.amp.GradScaler('cpu')

    def backward(self, loss, **_):
        self.loss_scaler.scale(loss).backward()

    def step(self, **_):
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update()


def training(work_dir, model, wrapper=OptimWrapper, epochs=2, clip=None, by_epoch=True) -> Runner:
    """Return a Runner of ours that is ready to train."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    total = dict(max_epochs=epochs) if by_epoch else dict(max_iters=epochs * EPOCH)
    return Runner(
        model,
        str(work_dir),
        train_dataloader=dict(
            batch_size=1, dataset=_Numbers(), sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        train_cfg=dict(type='ResumableEpochLoop' if by_epoch else 'ResumableIterLoop', **total),
        optim_wrapper=wrapper(optimizer=optimizer, clip_grad=clip),
        default_hooks=dict(
            checkpoint=dict(
                type='SafeCheckpointHook',
                by_epoch=by_epoch,
                interval=1 if by_epoch else EPOCH,
                max_keep_ckpts=1,
            )
        ),
        custom_hooks=[dict(type='DivergenceHook'), dict(type='PlainCheckpointHook')],
        experiment_name=work_dir.name,
        default_scope='mmengine',
    )


@pytest.mark.parametrize('by_epoch', [True, False], ids=['epochs', 'iterations'])
def test_a_loss_that_is_no_number_ends_the_run_and_the_last_good_checkpoint_stays(
    tmp_path, by_epoch
):
    runner = training(tmp_path, _Model('loss', at=[EPOCH + 1]), by_epoch=by_epoch)
    with pytest.raises(DivergedError, match='iteration 6') as caught:
        runner.train()
    message = str(caught.value)
    assert 'loss_cls (inf)' in message
    assert 'loss_box' not in message
    assert 'acc' not in message
    (kept,) = tmp_path.glob('*.pth')
    assert str(kept) in message
    assert load_file(kept)['meta']['iter'] == EPOCH


def test_gradients_that_are_no_number_end_the_run_at_once_where_nothing_skips_the_update(tmp_path):
    runner = training(tmp_path, _Model('gradient', at=[1]), clip=dict(max_norm=1.0))
    with pytest.raises(DivergedError, match=r'iteration 2\. .*norm of the gradients \(nan\)'):
        runner.train()


def test_weights_that_the_last_update_of_an_epoch_spoilt_replace_no_checkpoint(tmp_path):
    runner = training(tmp_path, _Model('gradient', at=[2 * EPOCH - 1]))
    with pytest.raises(DivergedError, match=r'iteration 8\. .*1 weights \(weight\)'):
        runner.train()
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    assert load_file(tmp_path / 'epoch_1.pth')['state_dict']['weight'].isfinite()


def test_weights_that_are_no_numbers_are_not_validated(tmp_path):
    runner = training(tmp_path, _Model())
    with torch.no_grad():
        runner.model.weight.fill_(float('nan'))
    with pytest.raises(DivergedError, match='weight'):
        runner.call_hook('before_val_epoch')


def test_a_loss_scaler_may_skip_updates_but_not_all(tmp_path):
    limit = divergence.SKIPPED_STEPS
    bad = [*range(limit - 1), *range(limit, 3 * limit)]
    runner = training(tmp_path, _Model('gradient', at=bad), _Scaled, epochs=limit)
    with pytest.raises(DivergedError, match=rf'iteration {2 * limit}\. .*{limit} iterations'):
        runner.train()


def test_an_operator_that_fails_on_scores_that_are_no_numbers_is_a_divergence(tmp_path):
    fault = 'matrix contains invalid numeric entries'
    with pytest.raises(DivergedError, match='the scores'):
        training(tmp_path, _Model(fault, at=[2])).train()


def test_another_error_stays_what_it_is(tmp_path):
    with pytest.raises(ValueError, match='no such class') as caught:
        training(tmp_path, _Model('no such class', at=[2])).train()
    assert not isinstance(caught.value, DivergedError)


def test_a_process_ends_with_the_one_that_found_it(tmp_path, monkeypatch):
    runner = training(tmp_path, _Model())
    monkeypatch.setattr(divergence, 'get_world_size', lambda: 2)
    monkeypatch.setattr(divergence, 'all_reduce', lambda flag, op: flag.fill_(1))
    monkeypatch.setattr(divergence, 'all_gather_object', lambda own: [own, ['loss_mask (nan)']])
    with pytest.raises(DivergedError, match=r'iteration 1\. .*loss_mask \(nan\)'):
        runner.train()
