"""Errors of the frameworks where parts of a config do not fit each other, told by one message.

They show when the first batch goes through training, or any batch through an evaluation.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner, TestLoop, ValLoop

from casvit_mm.distributed.group import lost_connection
from casvit_mm.errors import InputError

__all__ = ['explaining_steps']

# Errors of these packages follow from what they were given; those of others keep their traceback.
_FRAMEWORKS = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'torch', 'torchvision')


class _Steps(Hook):
    """Counts the steps of a training, which may be a resumed one.

    Attributes:
        done: Steps that are finished.
    """

    def __init__(self) -> None:
        self.done = 0

    def after_train_iter(self, *args: object, **kwargs: object) -> None:
        self.done += 1


@contextmanager
def explaining_steps(runner: Runner) -> Iterator[None]:
    """Tell an error of the frameworks in the first step or an evaluation by its message.

    The traceback goes to the log file. Other errors pass as they are.

    Raises:
        InputError: With the message, where it was raised, and what to look at; at any step, if the
            memory of the device does not suffice.
    """
    steps = _Steps()
    runner.register_hook(steps)
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        loader = runner.cfg.get('train_dataloader') or runner.cfg.test_dataloader
        raise InputError(
            f'{str(error).splitlines()[0]}\nSmaller batches (batch_size of the dataloader, now '
            f'{loader.batch_size}), smaller images, --amp or --bf16 need less. The last checkpoint '
            'is good: --resume'
        ) from error
    except InputError:
        raise
    except Exception as error:
        if lost_connection(error):  # the launcher says which process was lost
            raise
        what = 'the evaluation' if _in_evaluation(error) else 'the first step'
        frames = traceback.extract_tb(error.__traceback__)
        last = [frame for frame in frames if not frame.filename.startswith('<')][-1]
        ours = not any(name in Path(last.filename).parts for name in _FRAMEWORKS)
        if ours or (what == 'the first step' and steps.done):
            raise
        log = _append_to_log(runner, ''.join(traceback.format_exception(error)))
        text = str(error).strip().split('\n')[0] or 'no message'
        raise InputError(
            f'{what} failed: {type(error).__name__}: {text} (line {last.lineno} of '
            f'{last.filename}). Parts of {runner.cfg.filename} may not fit each other, or the '
            f'data. The traceback is in {log}; a checkpoint before it is good'
        ) from error


def _in_evaluation(error: BaseException) -> bool:
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return any(isinstance(frame.f_locals.get('self'), (ValLoop, TestLoop)) for frame in frames)


def _append_to_log(runner: Runner, text: str) -> str:
    """Write a text to the log file alone; return its path."""
    path = Path(runner.log_dir, f'{runner.timestamp}.log')
    with path.open('a') as file:
        file.write(text)
    return str(path)
