"""Files that are whole or not there."""

import json
import math

import pytest

from casvit_mm import InputError
from casvit_mm.io import check_writable, replacing, run_all, write_json


def test_json_has_null_for_nan_at_any_depth(tmp_path):
    write_json(tmp_path / 'a.json', dict(a=[dict(b=math.nan)], c=1))
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(a=[dict(b=None)], c=1)


def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path):
    write_json(tmp_path / 'a.json', dict(old=1))
    (tmp_path / 'a.json.part').symlink_to('/dev/full')  # every write there finds no space
    with pytest.raises(
        InputError, match=r'cannot write .*a\.json: No space left on device\..*as it'
    ):
        write_json(tmp_path / 'a.json', dict(new=2))
    assert json.loads((tmp_path / 'a.json').read_text()) == dict(old=1)
    assert [path.name for path in tmp_path.iterdir()] == ['a.json']


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    (tmp_path / 'a').write_text('old')

    def write():
        with replacing(tmp_path / 'a') as file:
            file.write('new')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (tmp_path / 'a').read_text() == 'old'
    assert [path.name for path in tmp_path.iterdir()] == ['a']


def test_one_failure_does_not_cost_the_other_results(tmp_path):
    (tmp_path / 'file').touch()
    jobs = [
        lambda: write_json(tmp_path / 'file/a.json', {}),
        lambda: write_json(tmp_path / 'b.json', {}),
        lambda: write_json(tmp_path / 'file/c.json', {}),
    ]
    with pytest.raises(InputError, match=r'(?s)a\.json.*c\.json'):
        run_all(jobs)
    assert (tmp_path / 'b.json').is_file()


@pytest.mark.parametrize('places', [({'--out': 'file/a.json'}, {}), ({}, {'--analysis': 'file'})])
def test_a_place_that_cannot_be_written_is_refused(places, tmp_path):
    (tmp_path / 'file').touch()
    files, folders = ({k: str(tmp_path / v) for k, v in part.items()} for part in places)
    with pytest.raises(InputError, match=r'--(out|analysis) .*cannot be written'):
        check_writable(files, folders)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'--out-pred .* is a folder; name a file in it'):
        check_writable({'--out': None, '--out-pred': str(tmp_path)}, {})


def test_places_that_can_be_written_are_left_empty(tmp_path):
    check_writable({'--out': str(tmp_path / 'a/b.json')}, {'--analysis': str(tmp_path / 'c')})
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['a', 'c']
