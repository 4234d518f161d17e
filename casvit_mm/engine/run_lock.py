"""One training at a time in a work dir: two would remove each other's checkpoints."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from casvit_mm.distributed.folder_lock import FolderInUseError, lock, unlock
from casvit_mm.distributed.group import on_first_rank
from casvit_mm.engine.options import TrainOptions
from casvit_mm.errors import InputError
from casvit_mm.io import check_writable

__all__ = ['LOCK', 'claim_work_dir', 'release_work_dir']

LOCK = 'run.lock'

release_work_dir = unlock


def claim_work_dir(cfg: Config, options: TrainOptions) -> list[str]:
    """Make the work dir of a config and lock it, until :func:`release_work_dir`.

    Rank 0 does so for all.

    Returns:
        What the log should say.

    Raises:
        InputError: If it cannot be written, or another training runs in it.
    """
    return on_first_rank(lambda: _claim(Path(cfg.work_dir)))


def _claim(work_dir: Path) -> list[str]:
    if work_dir.exists() and not work_dir.is_dir():
        raise InputError(f'--work-dir {work_dir} is a file; name a folder')
    check_writable({}, {'--work-dir': str(work_dir)})
    path = work_dir / LOCK
    try:
        missing = lock(path)
    except FolderInUseError as error:
        raise InputError(
            f'another training runs in {work_dir}: {error}. Wait for it or end it, or give this '
            f'one another --work-dir. (It holds the lock {path}.)'
        ) from None
    except OSError as error:
        raise InputError(f'--work-dir: cannot write {path}: {error.strerror}') from error
    if not missing:
        return []
    return [
        f'{work_dir} cannot be locked on this file system ({missing}): take care that no other '
        'training uses it'
    ]
