"""Parts of a config that do not fit each other: they show when the first batch goes through."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from mmengine.runner import Runner

from casvit_mm.errors import InputError

__all__ = ['explaining_first_step']

# Errors of these packages follow from what they were given; those of others keep their traceback.
_FRAMEWORKS = ('mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmpretrain', 'torch', 'torchvision')


@contextmanager
def explaining_first_step(runner: Runner) -> Iterator[None]:
    """Tell an error of the frameworks before the second step by its message; the rest as it is.

    The traceback goes to the log file.

    Raises:
        InputError: With the message, where it was raised, and what to look at; at any step, if the
            memory of the device does not suffice.
    """
    before = runner.iter
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise InputError(
            f'{str(error).splitlines()[0]}\nSmaller batches: --cfg-options '
            f'train_dataloader.batch_size=N, now {runner.cfg.train_dataloader.batch_size}; smaller '
            'images; --amp or --bf16. The last checkpoint is good: --resume'
        ) from error
    except InputError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        parts = Path(last.filename).parts
        if runner.iter > before + 1 or not any(name in parts for name in _FRAMEWORKS):
            raise
        trace = ''.join(traceback.format_exception(error))
        folder = _log_to_file(runner, trace)
        text = str(error).strip().split('\n')[0] or 'no message'
        raise InputError(
            f'the first step failed: {type(error).__name__}: {text} (line {last.lineno} of '
            f'{last.filename}). Parts of {runner.cfg.filename} may not fit each other, or the '
            f'data. The traceback is in {folder}'
        ) from error


def _log_to_file(runner: Runner, text: str) -> str:
    """Write a text to the log file alone; return its path."""
    path = Path(runner.log_dir, f'{runner.timestamp}.log')
    with path.open('a') as file:
        file.write(text)
    return str(path)
