"""Metrics of a classifier as tables."""

import pytest
from metric_samples import classified as sample

pytest.importorskip('mmpretrain')
from metric_samples import evaluated_classified as evaluated

from casvit_mm.classification.evaluation.tables import print_metrics


def test_every_class_has_a_row_and_what_it_is_taken_for(capsys):
    samples = [sample([1, 0, 0], 0)] * 2 + [sample([0, 1, 0], 0), sample([0, 1, 0], 1)]
    metric, metrics = evaluated(samples, ('paper', 'glass', 'never'))
    print_metrics({**metrics, **metric.details}, 'x.pth on y', metric.taken_for())
    printed = capsys.readouterr().out
    rows = {
        line.split()[0]: line.split()[1:] for line in printed.splitlines() if line[:1].islower()
    }
    assert rows['paper'] == ['3', '0.667', '1.000', '0.800', 'glass', '33.3%']
    assert rows['glass'] == ['1', '1.000', '0.500', '0.667']
    assert rows['never'] == ['0', '-', '-', '-']
    assert '0.750' in printed


def test_of_a_thousand_classes_the_twenty_worst_are_shown_on_one_line_each(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    metrics = {}
    for i in range(1000):
        name = f'tench number {i:03}'
        metrics |= {f'{key}/{name}': i / 1000 for key in ('recall', 'precision', 'f1')}
        metrics[f'images/{name}'] = 50
    means = dict.fromkeys(('accuracy/top1', 'accuracy/top5', 'precision', 'recall', 'f1'), 0.5)
    taken_for = {'tench number 007': ('goldfish', 0.5)}
    print_metrics({**means, **metrics}, '', taken_for)
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith('tench')]
    assert [line.split()[2] for line in rows] == [f'{i:03}' for i in range(20)]
    assert max(map(len, printed.splitlines())) <= 80
    assert '20 of 1000 classes, those with the lowest recall; --out' in printed
