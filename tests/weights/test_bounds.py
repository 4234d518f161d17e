"""A file of weights that asks for more than it holds is refused before memory is taken for it."""

import json
import struct
import time
import zipfile

import numpy as np
import pytest
import torch
from helpers import Call

from casvit_mm import InputError
from casvit_mm.weights.reading import class_names, load_file, state_dict_of

NUMPY_BUILDER = np.zeros(0).__reduce__()[0]
LARGE = 2**40


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def multiplied():
    value = ['x']
    for _ in range(20):
        value = [value] * 10
    return value


def within_itself():
    value = {'a': torch.zeros(1)}
    value['again'] = value
    return value


def change(path, old, new, compression=zipfile.ZIP_STORED, **parts):
    """Replace bytes of the pickle of a file that holds ten zeros, and some of its parts."""
    torch.save({'a': torch.zeros(10)}, path)
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as archive:
        for name, body in content.items():
            short = name.rpartition('/')[2]
            if short == 'data.pkl':
                assert old in body
                body = body.replace(old, new)
            archive.writestr(name, parts.get(f'part_{short}', body))


def long_number(value):
    return b'\x8a\x08' + struct.pack('<q', value)


# As in the pickle: the number of values of the storage, offset, shape and strides.
STORED = b'K\ntq\x07QK\x00K\n\x85q\x08K\x01\x85'
FILES = {
    'compressed': lambda path: change(
        path, b'a', b'a', zipfile.ZIP_DEFLATED, part_0=b'\0' * 2_000_000
    ),
    'shape': lambda path: change(path, b'K\n\x85', long_number(LARGE) + b'\x85'),
    'shape without strides': lambda path: change(
        path, b'K\n\x85q\x08K\x01', long_number(LARGE) + b'\x85q\x08K\x00'
    ),
    'storage': lambda path: change(
        path, STORED, STORED.replace(b'K\n', b'J' + struct.pack('<i', 10**6))
    ),
    'bytearray': lambda path: torch.save({'a': Call(bytearray, LARGE)}, path),
    'objects': lambda path: torch.save({'a': Call(np.ndarray, (LARGE,), 'O')}, path),
    'rebuilt objects': lambda path: torch.save(
        {'a': Call(NUMPY_BUILDER, np.ndarray, (LARGE,), 'O')}, path
    ),
    'tensor': lambda path: torch.save({'a': Call(torch.Tensor, LARGE)}, path),
    'no values': lambda path: torch.save({'a': torch.zeros(LARGE, device='meta')}, path),
    'sparse': lambda path: torch.save(
        {'a': torch.eye(2).to_sparse().sparse_resize_((LARGE, 9), 2, 0)}, path
    ),
    'deep': lambda path: torch.save({'a': nested(150)}, path),
    'multiplied': lambda path: torch.save({'a': multiplied()}, path),
    'within itself': lambda path: torch.save(within_itself(), path),
    'meta': lambda path: torch.save({'a': torch.zeros(1), 'meta': [1]}, path),
}


@pytest.mark.parametrize('name', FILES)
def test_a_small_file_that_asks_for_much_is_refused(name, tmp_path):
    path = tmp_path / 'a.pth'
    FILES[name](path)
    assert path.stat().st_size < 10_000
    start = time.perf_counter()
    with pytest.raises(InputError, match=r'is cut short or not a checkpoint|was not loaded'):
        load_file(path)
    assert time.perf_counter() - start < 2


HEADER = dict(dtype='F32', shape=[1], data_offsets=[0, 4])


@pytest.mark.parametrize(
    ('header', 'length'),
    [
        ('{}', 2**62),
        (json.dumps(dict(a=dict(HEADER, shape=[LARGE]))), None),
        (json.dumps(dict(a=HEADER, b=HEADER)), None),
        ('{"a":' * 10_000, None),
        (json.dumps(dict(a=HEADER, __metadata__={'casvit_mm.meta': '[' * 100_000})), None),
        (json.dumps(dict(a=HEADER, __metadata__={'casvit_mm.meta': '[]'})), None),
    ],
)
def test_a_header_that_lies_is_refused(header, length, tmp_path):
    path = tmp_path / 'a.safetensors'
    length = len(header) if length is None else length
    path.write_bytes(struct.pack('<Q', length) + header.encode() + bytes(4))
    with pytest.raises(InputError, match='is cut short or not a checkpoint'):
        load_file(path)


def test_what_a_training_writes_is_read(tmp_path):
    shared = torch.arange(1000.0)
    content = dict(
        state_dict=dict(a=shared, b=shared.reshape(10, 100).T, c=torch.zeros(0, 4)),
        optimizer=dict(state={0: dict(step=1)}, param_groups=[dict(lr=0.1)] * 20),
        meta=dict(seed=2**127, dataset_meta=dict(classes=('cat',))),
        scalar=np.float64(3),
    )
    torch.save(content, tmp_path / 'a.pth')
    read = load_file(tmp_path / 'a.pth')
    torch.testing.assert_close(read['state_dict'], content['state_dict'])
    assert class_names(read) == ('cat',)


@pytest.mark.parametrize(
    'meta', [dict(dataset_meta=5), dict(dataset_meta=dict(classes=5)), dict(CLASSES=[[1], {}])]
)
def test_names_that_are_none_are_no_names(meta):
    assert class_names(dict(meta=meta)) is None


def test_keys_that_are_no_text_name_no_weights():
    content = {1: torch.zeros(1), None: 2, 'a': 3}
    with pytest.raises(InputError, match='holds no weights'):
        state_dict_of(content, 'a.pth')
