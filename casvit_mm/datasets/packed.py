"""The files of a dataset in one file of LMDB, for storage that is slow per file.

A pack holds the bytes of images and masks by the paths that a config calls them. MMEngine's
transforms read from it by ``backend_args=dict(backend='packed', db_path=...)``.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.fileio import register_backend
from mmengine.fileio.backends import LmdbBackend

from casvit_mm.console import counted
from casvit_mm.errors import InputError

__all__ = ['PackedBackend', 'check_pack', 'write_pack']

_MARK = b'\0casvit_mm pack'  # no path; written last
_LONGEST = 511  # bytes of a key of LMDB
_PER_WRITE = 1000  # files
_REPACK = 'Pack the data anew: casvit-mm pack-data'


def _key(path: str | Path) -> bytes:
    return os.fsencode(os.path.abspath(path))


class PackedBackend(LmdbBackend):
    """Reads files out of a pack, by their paths; paths may hold any letters.

    Every process opens it for itself: what LMDB has open does not survive a fork.

    Args:
        db_path: The pack.
        plain: Folder whose files are read as they are, such as masks that were made in a work dir.
    """

    def __init__(self, db_path: str, plain: str | None = None) -> None:
        super().__init__(db_path)
        self._client: Any = None
        self._plain = plain and os.path.join(os.path.abspath(plain), '')
        self._process: int | None = None

    def get(self, filepath: str | Path) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: If the pack does not hold it.
        """
        if self._plain and os.path.abspath(filepath).startswith(self._plain):
            return Path(filepath).read_bytes()
        if self._process != os.getpid():
            if self._client is not None:
                self._client.close()  # what was open before a fork
            self._client, self._process = self._get_client(), os.getpid()
        with self._client.begin(write=False) as reading:
            content = reading.get(_key(filepath))
        if content is None:
            raise FileNotFoundError(
                f'the pack {self.db_path} does not hold {filepath}. It is of other data, or the '
                f'path was another one when it was made. {_REPACK}'
            )
        return content


register_backend('packed', PackedBackend, force=True)


def _lmdb() -> Any:
    try:
        import lmdb
    except ImportError as error:
        raise InputError("packs need the package lmdb: pip install 'casvit_mm[pack]'") from error
    return lmdb


def write_pack(files: Sequence[str], out: Path, facts: dict[str, Any]) -> int:
    """Write the content of files into a pack; the folder has its name once all is in it.

    Args:
        files: Their paths, each once.
        out: Folder to make.
        facts: What :func:`check_pack` returns.

    Returns:
        Bytes on the disk.

    Raises:
        InputError: If a file cannot be read, the folder exists or cannot be written, or a path is
            too long.
    """
    lmdb = _lmdb()
    if os.path.lexists(out):
        raise InputError(f'{out} exists; name another folder, or take it away')
    long = next((file for file in files if len(_key(file)) > _LONGEST), None)
    if long:
        raise InputError(f'{long}: a path in a pack may have {_LONGEST} bytes')
    part = out.with_name(f'.{out.name}.part')
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        pack = lmdb.open(str(part), map_size=_bytes_of(files), lock=False)
        try:
            left = counted(files, 'packing', len(files))
            while some := list(islice(left, _PER_WRITE)):
                with pack.begin(write=True) as writing:
                    for file in some:
                        writing.put(_key(file), _read(file))
            with pack.begin(write=True) as writing:
                writing.put(_MARK, json.dumps({**facts, 'files': len(files)}).encode())
            pack.sync(True)
        finally:
            pack.close()
        part.rename(out)
    except (OSError, lmdb.Error) as error:
        raise InputError(f'{out} cannot be written: {error}. Make room or name another') from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return (out / 'data.mdb').stat().st_size


def _bytes_of(files: Iterable[str]) -> int:
    """Return how large a pack may become: pages of 4 KiB, and the tree of the keys.

    Raises:
        InputError: If a file is missing.
    """
    try:
        return 2**26 + sum((os.stat(file).st_size // 4096 + 2) * 4096 + 1024 for file in files)
    except OSError as error:
        raise InputError(f'{error.filename} cannot be read: {error.strerror}') from error


def _read(file: str) -> bytes:
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise InputError(f'{file} cannot be read: {error.strerror}') from error
    if not content:
        raise InputError(f'{file} is empty (0 bytes)')
    return content


def check_pack(path: Path) -> dict[str, Any]:
    """Return what a pack says of itself.

    Raises:
        InputError: If it is none of ours, is cut short, or cannot be read.
    """
    lmdb = _lmdb()
    if not (path / 'data.mdb').is_file():
        raise InputError(f'{path} is no pack: a folder that casvit-mm pack-data has written')
    size = (path / 'data.mdb').stat().st_size
    try:
        pack = lmdb.open(str(path), readonly=True, lock=False)
        try:
            whole = (pack.info()['last_pgno'] + 1) * pack.stat()['psize']
            if size < whole:  # reading what is not there would end the process
                raise InputError(
                    f'the pack {path} is cut short: {size:,} of {whole:,} bytes. Copy it again'
                )
            with pack.begin() as reading:
                facts = reading.get(_MARK)
        finally:
            pack.close()
    except (OSError, lmdb.Error) as error:
        raise InputError(f'the pack {path} is damaged: {error}. {_REPACK}') from error
    if facts is None:
        raise InputError(f'{path} is of LMDB, but no pack of ours. {_REPACK}')
    return json.loads(facts)
