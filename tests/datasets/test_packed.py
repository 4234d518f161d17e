"""A pack gives back what was put in, and says what is wrong with it."""

import os
from pathlib import Path

import pytest

pytest.importorskip('lmdb')
import lmdb
from mmengine import fileio

from casvit_mm import InputError
from casvit_mm.datasets.packed import PackedBackend, check_pack, write_pack


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / 'a.jpg', tmp_path / 'Größe.png', tmp_path / 'b/a.jpg']
    (tmp_path / 'b').mkdir()
    for i, path in enumerate(paths):
        path.write_bytes(os.urandom(5000) + bytes([i]))
    return [str(path) for path in paths]


@pytest.fixture
def pack(files, tmp_path):
    write_pack(files, tmp_path / 'pack', dict(task='detection', config='c.py'))
    return tmp_path / 'pack'


def test_transforms_read_the_bytes_of_the_files_also_after_a_fork(
    files, pack, tmp_path, monkeypatch
):
    assert check_pack(pack) == dict(task='detection', config='c.py', files=3)
    place = dict(backend='packed', db_path=str(pack))
    expected = {path: Path(path).read_bytes() for path in files}
    for path in files:
        os.rename(path, f'{path}.gone')
    for path in files:
        assert fileio.get(path, backend_args=place) == expected[path]
    monkeypatch.chdir(tmp_path)
    assert fileio.get('b/a.jpg', backend_args=place) == expected[files[2]]
    pid = os.fork()
    if pid == 0:
        os._exit(fileio.get(files[0], backend_args=place) != expected[files[0]])
    assert os.waitpid(pid, 0)[1] == 0


def test_files_of_a_folder_that_is_named_are_read_as_they_are(files, pack, tmp_path):
    backend = PackedBackend(str(pack), plain=str(tmp_path / 'b'))
    (tmp_path / 'b/a.jpg').write_bytes(b'new')
    assert backend.get(files[2]) == b'new'
    with pytest.raises(FileNotFoundError, match=r'pack .*pack does not hold .*other\.jpg. .*anew'):
        backend.get(tmp_path / 'other.jpg')


def test_what_is_no_whole_pack_is_named(pack, tmp_path):
    with pytest.raises(InputError, match='is no pack: a folder that'):
        check_pack(tmp_path)
    (tmp_path / 'foreign').mkdir()
    lmdb.open(str(tmp_path / 'foreign')).close()
    with pytest.raises(InputError, match='is of LMDB, but no pack of ours'):
        check_pack(tmp_path / 'foreign')
    content = (pack / 'data.mdb').read_bytes()
    (pack / 'data.mdb').write_bytes(content[:-8192])
    with pytest.raises(InputError, match='pack is cut short'):
        check_pack(pack)
    (pack / 'data.mdb').write_bytes(b'x' * len(content))
    with pytest.raises(InputError, match='pack is damaged'):
        check_pack(pack)


def test_nothing_is_left_of_a_pack_that_cannot_be_made(files, tmp_path):
    Path(files[1]).write_bytes(b'')
    with pytest.raises(InputError, match=r'Größe\.png is empty'):
        write_pack(files, tmp_path / 'pack', {})
    os.remove(files[1])
    with pytest.raises(InputError, match=r'Größe\.png cannot be read: No such file'):
        write_pack(files, tmp_path / 'pack', {})
    assert not [path for path in tmp_path.iterdir() if 'pack' in path.name]
    with pytest.raises(InputError, match='exists; name another folder'):
        write_pack(files, tmp_path / 'b', {})
