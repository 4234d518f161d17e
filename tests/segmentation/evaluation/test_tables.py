"""Metrics of a segmentor as tables."""

import pytest
from metric_samples import random_labelled as random_samples

pytest.importorskip('mmseg')
from metric_samples import evaluated_labelled as evaluated

from casvit_mm.segmentation.evaluation.tables import print_metrics


def test_every_class_has_a_row_and_a_share_of_the_pixels(capsys):
    metric, metrics = evaluated(random_samples())
    print_metrics({**metrics, **metric.details}, 'x.pth on y')
    printed = capsys.readouterr().out
    rows = {
        line.split()[0]: line.split()[1:] for line in printed.splitlines() if line[:1].islower()
    }
    assert rows['never'] == ['-', '-', '-']
    assert rows['sign'] == ['0.000', '-', '-']
    assert rows['road'][0] == f'{metric.details["IoU/road"]:.3f}'
    assert 30 < float(rows['road'][2].rstrip('%')) < 36
    assert f'{metrics["mIoU"]:.3f}' in printed


def test_a_hundred_and_fifty_classes_keep_to_one_line_each(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    names = [f'armchair number {i} of the set' for i in range(150)]
    metrics = {f'{key}/{name}': 0.5 for key in ('IoU', 'Acc', 'pixels') for name in names}
    print_metrics(dict(mIoU=0.5, mAcc=0.5, aAcc=0.5, **metrics))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('armchair')]
    assert len(lines) == 150
    assert max(map(len, lines)) <= 80


def test_a_rare_class_is_not_shown_as_absent(capsys):
    metrics = {f'{key}/{name}': 0.5 for key in ('IoU', 'Acc') for name in 'ab'}
    pixels = {'pixels/a': 1, 'pixels/b': 10**6}
    print_metrics(dict(mIoU=0.5, mAcc=0.5, aAcc=0.5, **metrics, **pixels))
    assert '<0.1%' in capsys.readouterr().out
