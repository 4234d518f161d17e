"""Errors of a step."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import TestLoop

from casvit_mm.engine.step_errors import explaining_steps
from casvit_mm.errors import InputError


@pytest.fixture
def runner(tmp_path):
    cfg = Config(dict(train_dataloader=dict(batch_size=8)))
    hooks = []
    return SimpleNamespace(
        cfg=cfg, log_dir=str(tmp_path), timestamp='log', hooks=hooks, register_hook=hooks.append
    )


def multiply_what_does_not_fit():
    torch.nn.Linear(3, 4)(torch.zeros(2, 5))


def test_an_error_of_the_frameworks_is_told_by_its_message_and_logged(runner, tmp_path):
    with (
        pytest.raises(InputError, match='the first step failed: RuntimeError: mat1 and mat2'),
        explaining_steps(runner),
    ):
        multiply_what_does_not_fit()
    assert 'multiply_what_does_not_fit' in (tmp_path / 'log.log').read_text()


def test_a_later_step_keeps_its_traceback(runner):
    def third_step():
        runner.hooks[0].after_train_iter(runner, 0)
        multiply_what_does_not_fit()

    with pytest.raises(RuntimeError, match='mat1 and mat2'), explaining_steps(runner):
        third_step()


def test_an_error_in_an_evaluation_is_told_at_any_step(runner):
    class Loop(TestLoop):
        def __init__(self):
            pass

        def run(self):
            multiply_what_does_not_fit()

    message = 'the evaluation failed: RuntimeError: mat1 and mat2'
    with pytest.raises(InputError, match=message), explaining_steps(runner):
        Loop().run()


def test_a_lost_process_is_no_error_of_the_step(runner):
    with pytest.raises(torch.distributed.DistBackendError), explaining_steps(runner):
        raise torch.distributed.DistBackendError('remote process exited')


def test_an_error_of_the_users_own_code_keeps_its_traceback(runner):
    with pytest.raises(KeyError), explaining_steps(runner):
        {}['no key']


def test_memory_that_does_not_suffice_is_told_at_any_step(runner):
    def later_step():
        raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB.\nmore')

    message = r'CUDA out of memory.*\n.*now 8'
    with pytest.raises(InputError, match=message), explaining_steps(runner):
        later_step()
