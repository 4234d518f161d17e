"""Two processes that share the images of an evaluation find what one finds."""

import pytest
import torch
from metric_samples import (
    LABELS,
    MATERIALS,
    evaluate_classification,
    evaluate_in_two_processes,
    evaluate_segmentation,
    random_classified,
    random_labelled,
)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # MMEngine exchanges results in a folder of the current one


def metrics_of_both(folder):
    first, second = (torch.load(folder / f'{rank}.pt') for rank in (0, 1))
    assert first == second
    return first


def test_two_processes_give_the_segmentation_metrics_of_one(tmp_path):
    pytest.importorskip('mmseg')
    from casvit_mm.segmentation import SegmentationIoU

    samples = random_labelled()
    evaluate_in_two_processes(evaluate_segmentation, samples, tmp_path)
    metric = SegmentationIoU()
    metric.dataset_meta = dict(classes=LABELS)
    metric.process(None, samples)
    assert metrics_of_both(tmp_path) == metric.evaluate(len(samples))
    assert torch.load(tmp_path / 'images.pt') == [f'images/{i}.jpg' for i in range(7)]
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == [f'{i}.png' for i in range(7)]


def test_two_processes_give_the_classification_metrics_and_predictions_of_one(tmp_path):
    pytest.importorskip('mmpretrain')
    from casvit_mm.classification import ClassificationAccuracy
    from casvit_mm.classification.evaluation.predictions import write_predictions

    samples = random_classified()
    evaluate_in_two_processes(evaluate_classification, samples, tmp_path)
    metric = ClassificationAccuracy()
    metric.dataset_meta = dict(classes=MATERIALS)
    metric.process(None, samples)
    assert metrics_of_both(tmp_path) == metric.evaluate(len(samples))
    write_predictions(tmp_path / 'one.json', metric)
    assert (tmp_path / 'predictions.json').read_text() == (tmp_path / 'one.json').read_text()
