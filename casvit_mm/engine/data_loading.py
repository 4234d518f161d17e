"""The data loaders of a run: their workers, and what happens when a sample cannot be read."""

from __future__ import annotations

import re
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch.distributed as dist
from torch.utils.data import DataLoader

from casvit_mm.distributed.processes import close_inherited_connections, die_with_parent
from casvit_mm.engine.interrupt import outlive_signals
from casvit_mm.errors import InputError

__all__ = [
    'DeadWorkerError',
    'SampleError',
    'dead_workers_told',
    'guard',
    'read_batches',
    'start_worker',
    'take_batch',
]

_FILES = ('img_path', 'seg_map_path')


class SampleError(InputError):
    """A sample that cannot be read.

    Args:
        text: The message, or what a data loader makes of it: the traceback of the worker, which
            ends with the message.
    """

    def __init__(self, text: str) -> None:
        super().__init__(str(text).rpartition(f'{type(self).__name__}: ')[2].strip())


class DeadWorkerError(InputError):
    """A data worker that was killed, e.g. because there was no memory left."""


def guard(loader: DataLoader) -> DataLoader:
    """Let the workers of a loader begin with :func:`start_worker`, and damaged files be named.

    What the workers began with before, the user's function or MMEngine's seeding, comes after it.
    """
    loader.worker_init_fn = partial(start_worker, then=loader.worker_init_fn)
    dataset: Any = loader.dataset
    if hasattr(dataset, '__getitem__') and not hasattr(dataset, '__getitems__'):
        with suppress(AttributeError):  # it takes no attributes
            dataset.__getitems__ = partial(_read_samples, dataset)  # what torch asks for a batch
    return loader


def start_worker(worker_id: int, then: Callable[[int], object] | None = None) -> None:
    """Let a worker end with its training process, and not before.

    Args:
        worker_id: Number of the worker.
        then: What else to call with it.
    """
    outlive_signals(worker_id)
    die_with_parent(signal.SIGKILL)
    if dist.is_available() and dist.is_initialized():
        close_inherited_connections()
    if then is not None:
        then(worker_id)


def _read_samples(dataset: Any, indices: Iterable[int]) -> list[Any]:
    """Return the samples of a batch.

    Raises:
        SampleError: Naming the files of the one that cannot be read.
    """
    samples = []
    for index in indices:
        try:
            samples.append(dataset[index])
        except InputError:
            raise
        except Exception as error:  # whatever the user's transforms raise
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = (str(error).strip().splitlines() or [''])[0]
            raise SampleError(
                f'{_name(dataset, index)} cannot be read: {type(error).__name__}: {reason} '
                f'({place.filename}, line {place.lineno})'
            ) from error
    return samples


def _name(dataset: Any, index: int) -> str:
    """Return the files that a sample is made from, or its number."""
    try:
        info = dataset.get_data_info(index)
        files = [str(info[key]) for key in _FILES if info.get(key)]
    except Exception:  # no dataset of MMEngine, or it is the list itself that is damaged
        files = []
    return ' with '.join(files) or f'sample {int(index)}'


def read_batches(loader: DataLoader) -> Iterator[Any]:
    """Yield the batches of a loader; a worker that has died is an error here and nowhere else.

    torch raises that error at once, wherever the program is, also amid a training step.
    """
    batches = iter(loader)
    raise_if_worker_died = signal.getsignal(signal.SIGCHLD)
    if (
        not callable(raise_if_worker_died)
        or threading.current_thread() is not threading.main_thread()
    ):
        yield from batches
        return
    ended: list[int] = []
    try:
        while True:
            signal.signal(signal.SIGCHLD, raise_if_worker_died)
            if ended:
                ended.clear()
                raise_if_worker_died(signal.SIGCHLD, None)
            try:
                batch = next(batches)
            except StopIteration:
                return
            signal.signal(signal.SIGCHLD, lambda signum, frame: ended.append(signum))
            yield batch
    finally:
        signal.signal(signal.SIGCHLD, raise_if_worker_died)


def take_batch(batches: Iterator[Any]) -> tuple[Any, InputError | None]:
    """Return the next batch, None at the end; or what is wrong with the data or their workers."""
    try:
        with dead_workers_told():
            return next(batches, None), None
    except (SampleError, DeadWorkerError) as error:
        return None, error


@contextmanager
def dead_workers_told() -> Iterator[None]:
    """Raise the error of a data worker that has died as one whose message is enough.

    It is the innermost context: torch raises its error wherever the program is, and what other
    contexts do at their end may swallow it, as ``threading.Event.set`` does.

    Raises:
        DeadWorkerError: Instead of torch's error.
    """
    try:
        try:
            yield
        except (OSError, EOFError):
            # What a killed worker was sending breaks off shortly before its end is signalled,
            # and torch's handler of the signal raises its error here.
            time.sleep(0.5)
            raise
    except RuntimeError as error:
        if not re.match(r'DataLoader worker \(pid', str(error)):
            raise
        raise DeadWorkerError(
            f'{str(error).strip(" .")}. Where memory is the cause, fewer workers need less: '
            '--cfg-options train_dataloader.num_workers=N val_dataloader.num_workers=N'
        ) from error
