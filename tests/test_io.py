"""Tables, and files that are whole or not there."""

import json
import math

import pytest

from casvit_mm import InputError
from casvit_mm.detection.evaluation.tables import print_metrics
from casvit_mm.io import check_writable, replacing, run_all, write_json


def metrics(classes, suffixes=('',)):
    """Figures as an evaluation gives them, box and mask."""
    figures = {}
    for kind in ('bbox', 'segm'):
        for suffix in suffixes:
            limit = suffix.removeprefix('_maxDets') or '100'
            for part in ('', '_50', '_75', '_s', '_m', '_l'):
                figures[f'coco/{kind}_mAP{part}{suffix}'] = 0.5
                for name in classes:
                    figures[f'coco/{kind}_AP{part}{suffix}/{name}'] = 0.25
            for name in classes:
                figures[f'coco/{kind}_AR@{limit}/{name}'] = math.nan
    return {**figures, **{f'coco/objects/{name}': 12 for name in classes}}


def rows(text, name):
    return [line.split() for line in text.splitlines() if line.startswith(f'{name} ')]


def test_every_class_has_a_row_of_figures_for_box_and_mask(capsys):
    print_metrics(metrics(['cat', 'dog']))
    printed = capsys.readouterr().out
    assert rows(printed, 'dog') == 2 * [['dog', '12', *6 * ['0.250'], '-']]


def test_eighty_classes_with_long_names_keep_to_one_line_each(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    print_metrics(metrics([f'baseball bat {i}' for i in range(80)]))
    printed = capsys.readouterr().out
    assert len(rows(printed, 'baseball')) == 160
    assert max(map(len, printed.splitlines())) <= 80


def test_the_class_table_is_that_of_the_highest_limit(capsys):
    figures = metrics(['cat'], ('', '_maxDets400'))
    figures['coco/bbox_AP_maxDets400/cat'] = 0.75
    print_metrics(figures)
    printed = capsys.readouterr().out
    assert 'box, per class, 400 detections per image' in printed
    assert rows(printed, 'cat')[0][2] == '0.750'


def test_figures_without_details_are_printed_too(capsys):
    figures = {key: v for key, v in metrics(['cat']).items() if '_mAP' in key or '_AP/' in key}
    print_metrics(figures)
    assert rows(capsys.readouterr().out, 'cat')[0] == ['cat', '-', '0.250', *6 * ['-']]


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
