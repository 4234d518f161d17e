"""A second start reads no file again, and nothing that has changed is missed."""

import os
import threading

import pytest
from PIL import Image

from casvit_mm.datasets import image_scan, scan_memory
from casvit_mm.datasets.image_scan import scan_headers


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(scan_memory.CACHE, str(tmp_path / 'cache'))
    monkeypatch.setattr(scan_memory, '_SETTLED', -(2**62))  # the files of a test are new
    return tmp_path / 'cache'


@pytest.fixture
def paths(tmp_path):
    (tmp_path / 'images').mkdir()
    paths = [tmp_path / f'images/{i}.jpg' for i in range(3)]
    for path in paths:
        Image.new('RGB', (20, 10)).save(path)
    return paths


@pytest.fixture
def read(monkeypatch):
    """Names of the files that are read."""
    names = []
    scan = image_scan._scan_header

    def count(path):
        names.append(path.name)
        return scan(path)

    monkeypatch.setattr(image_scan, '_scan_header', count)
    return names


def test_a_second_start_reads_nothing_and_finds_the_same(paths, read):
    first = scan_headers(paths, 'x')
    assert sorted(read) == ['0.jpg', '1.jpg', '2.jpg']
    assert scan_headers(paths, 'x') == first
    assert len(read) == 3
    assert first[0].upright == (20, 10)


def test_a_file_that_changed_within_its_second_and_kept_its_size_is_read_again(paths, read):
    scan_headers(paths, 'x')
    status, whole = os.stat(paths[1]), paths[1].read_bytes()
    paths[1].write_bytes(whole[:-2] + b'\0\0')
    os.utime(paths[1], ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert 'cut short' in scan_headers(paths, 'x')[1].fault
    assert read[3:] == ['1.jpg']


def test_a_file_with_a_fault_is_read_at_every_start(paths, read):
    paths[2].write_bytes(paths[2].read_bytes()[:-200])
    faults = [[scan.fault for scan in scan_headers(paths, 'x')] for _ in range(2)]
    assert faults[0] == faults[1]
    assert 'cut short' in faults[0][2]
    assert read[3:] == ['2.jpg']


def test_a_file_that_has_just_been_written_is_not_remembered(paths, read, monkeypatch):
    monkeypatch.setattr(scan_memory, '_SETTLED', 10**12)
    scan_headers(paths, 'x')
    scan_headers(paths, 'x')
    assert len(read) == 6


@pytest.mark.parametrize('damage', [b'', b'\0\xff', b'{}', None])
def test_a_damaged_memory_is_ignored_and_written_anew(paths, read, cache, damage):
    first = scan_headers(paths, 'x')
    (file,) = (cache / 'scans').iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'20, 10', b'21, 10') if damage is None else damage)
    assert scan_headers(paths, 'x') == first
    assert len(read) == 6
    assert file.read_bytes() == whole


def test_another_limit_of_pixels_reads_again(paths, read, monkeypatch):
    scan_headers(paths, 'x')
    monkeypatch.setenv(scan_memory.pixel_limit.__globals__['PIXEL_LIMIT'], '100000')
    scan_headers(paths, 'x')
    assert len(read) == 6


def test_without_a_place_for_the_memory_everything_is_read(paths, read, cache):
    cache.write_text('a file where a folder is wanted')
    assert scan_headers(paths, 'x') == scan_headers(paths, 'x')
    assert len(read) == 6


def test_splits_in_one_folder_share_a_memory_which_forgets_files_that_are_gone(paths, read, cache):
    scan_headers(paths[:1], 'train')
    scan_headers(paths[1:], 'val')
    scan_headers(paths, 'all')
    assert len(read) == 3
    (file,) = (cache / 'scans').iterdir()
    paths[0].rename(paths[0].with_name('new.jpg'))
    scan_headers([paths[0].with_name('new.jpg'), *paths[1:]], 'all')
    assert '"new.jpg"' in file.read_text()
    assert '"0.jpg"' not in file.read_text()


def test_several_processes_at_once_leave_a_whole_memory(paths, read, monkeypatch):
    monkeypatch.setattr(scan_memory.os, 'getpid', threading.get_ident)
    threads = [threading.Thread(target=scan_headers, args=(paths, 'x')) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read.clear()
    scan_headers(paths, 'x')
    assert read == []
