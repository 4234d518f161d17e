"""YAML that a user writes is read within bounds, and a refusal names the line."""

import pytest

from casvit_mm import InputError
from casvit_mm.datasets.yaml_files import read_yaml

MERGES = [f'a{i}: &a{i} {{<<: [{", ".join([f"*a{i - 1}"] * 9)}]}}' for i in range(1, 8)]
NAMES = [f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]' for i in range(1, 10)]
CHAIN = [f'a{i}: &a{i} [[[[[*a{i - 1}]]]]]' for i in range(1, 9)]


def read(tmp_path, text):
    path = tmp_path / 'dataset.yaml'
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_yaml(path, 'dataset.yaml')


def test_aliases_and_merged_fields_are_read(tmp_path):
    text = 'a: &a {x: 1, y: [1]}\nb: *a\nc: &c {<<: *a, x: 2}\nd: {z: {<<: *c, x: 3}}'
    a = dict(x=1, y=[1])
    assert read(tmp_path, text) == dict(a=a, b=a, c=dict(a, x=2), d=dict(z=dict(a, x=3)))


def test_a_mark_of_the_byte_order_is_no_character(tmp_path):
    assert read(tmp_path, '\ufeffa: é') == {'a': 'é'}
    assert read(tmp_path, 'a: é'.encode('utf-16')) == {'a': 'é'}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('\n'.join(['a0: &a0 [l]', *NAMES]), r'line 7: aliases .* multiply'),
        ('\n'.join(['a0: &a0 {x: 1}', *MERGES]), r'line \d: aliases .* multiply'),
        ('\n'.join(['a0: &a0 [l]', *CHAIN]), r'line 5: aliases .* nest deeper than 20'),
        ('a: 1\nb: &b [*b]', r'line 2: \*b stands inside of &b itself'),
        ('[' * 100_000, 'line 1: lists and fields are nested deeper than 20'),
        ('a: {b: 1,\n b: 2}', "line 2: 'b' stands twice"),
        ('a: ' + '9' * 10_000, 'line 1: a number of 10000 characters'),
        ('a: 1' + ':59' * 20, 'line 1: .* no number of 64 bits'),
        ('a: 99999999999999999999', 'line 1: .* no number of 64 bits'),
        ('a: 1.0e+999', 'line 1: .* no number of 64 bits'),
        ('\na: 2024-13-45', "line 2: '2024-13-45' is no timestamp"),
        ('a: !!int b', "line 1: 'b' is no int"),
        ('a: !!bool b', "line 1: 'b' is no bool"),
        ('a: !!map b', 'is not YAML: expected a mapping'),
        ('a: !!python/object/apply:os.getcwd []', 'is not YAML: could not determine'),
        ('a: "\\0"', 'line 1: .* a character that no name can have'),
        ('a: "\\ud800"', 'line 1: .* a character that no name can have'),
        (b'a: \xe9', 'is not YAML: unacceptable character'),
        ('a' * (2**21 + 1), 'larger than 2 MiB'),
    ],
)
def test_what_multiplies_or_overflows_is_refused_with_its_line(text, message, tmp_path):
    with pytest.raises(InputError, match=rf'dataset\.yaml.*{message}'):
        read(tmp_path, text)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match='cannot be read: Is a directory'):
        read_yaml(tmp_path, 'dataset.yaml')
