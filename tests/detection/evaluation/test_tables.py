"""Metrics of a detector as tables."""

import math

from casvit_mm.detection.evaluation.tables import print_metrics


def metrics(classes, suffixes=('',)):
    """Metrics as an evaluation gives them, box and mask."""
    values = {}
    for kind in ('bbox', 'segm'):
        for suffix in suffixes:
            limit = suffix.removeprefix('_maxDets') or '100'
            for part in ('', '_50', '_75', '_s', '_m', '_l'):
                values[f'coco/{kind}_mAP{part}{suffix}'] = 0.5
                for name in classes:
                    values[f'coco/{kind}_AP{part}{suffix}/{name}'] = 0.25
            for name in classes:
                values[f'coco/{kind}_AR@{limit}/{name}'] = math.nan
    return {**values, **{f'coco/objects/{name}': 12 for name in classes}}


def rows(text, name):
    return [line.split() for line in text.splitlines() if line.startswith(f'{name} ')]


def test_every_class_has_a_row_of_metrics_for_box_and_mask(capsys):
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
    values = metrics(['cat'], ('', '_maxDets400'))
    values['coco/bbox_AP_maxDets400/cat'] = 0.75
    print_metrics(values)
    printed = capsys.readouterr().out
    assert 'box, per class, 400 detections per image' in printed
    assert rows(printed, 'cat')[0][2] == '0.750'


def test_metrics_without_details_are_printed_too(capsys):
    values = {key: v for key, v in metrics(['cat']).items() if '_mAP' in key or '_AP/' in key}
    print_metrics(values)
    assert rows(capsys.readouterr().out, 'cat')[0] == ['cat', '-', '0.250', *6 * ['-']]
