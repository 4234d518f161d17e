"""Predictions of a classifier as a file."""

import json

import pytest
from metric_samples import classified as sample

pytest.importorskip('mmpretrain')
from metric_samples import evaluated_classified as evaluated

from casvit_mm.classification.evaluation.predictions import write_predictions


def test_predictions_name_the_classes_of_every_image(tmp_path):
    metric, _ = evaluated([sample([0.1, 0.7, 0.2], 2, 'a/1.jpg')], ('x', 'y', 'ü'), topk=(1, 2))
    write_predictions(tmp_path / 'p.json', metric)
    (record,) = json.loads((tmp_path / 'p.json').read_text())
    assert record == dict(
        img_path='a/1.jpg',
        truth='ü',
        predicted='y',
        score=pytest.approx(0.7),
        top=[
            {'class': 'y', 'score': pytest.approx(0.7)},
            {'class': 'ü', 'score': pytest.approx(0.2)},
        ],
    )
