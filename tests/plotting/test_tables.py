"""Metrics that no table of ours has a place for are shown as well."""

import pytest

from casvit_mm.classification.evaluation import tables as classification
from casvit_mm.detection.evaluation import tables as detection
from casvit_mm.segmentation.evaluation import tables as segmentation


@pytest.mark.parametrize('tables', [detection, segmentation, classification])
@pytest.mark.parametrize('metrics', [{}, {'pascal_voc/mAP': 0.25}])
def test_metrics_of_another_are_listed_and_no_table_is_empty(tables, metrics, capsys):
    tables.print_metrics(metrics, 'title')
    lines = capsys.readouterr().out.split('\n')
    assert lines[0] == 'title'
    rows = [line.split() for line in lines if '0.250' in line]
    assert rows == [['pascal_voc/mAP', '0.250'] for _ in metrics]
    assert len(lines) == (7 if metrics else 2)


def test_mmdets_own_metric_fills_the_table_over_all_classes(capsys):
    names = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
    detection.print_metrics({f'coco/bbox_{name}': 0.125 for name in names})
    out = capsys.readouterr().out
    assert out.count('0.125') == 6
    assert 'per class' not in out
    assert 'other metrics' not in out
