"""Accuracy, counted exactly."""

import json
import math

import numpy as np
import pytest
import torch
from metric_samples import MATERIALS as CLASSES
from metric_samples import classified as sample
from metric_samples import random_classified as random_samples

pytest.importorskip('mmpretrain')
from metric_samples import evaluated_classified as evaluated
from mmpretrain.evaluation import Accuracy, SingleLabelMetric

from casvit_mm import InputError
from casvit_mm.classification.evaluation.metric import ClassificationAccuracy
from casvit_mm.classification.evaluation.predictions import write_predictions


def arrays(samples):
    """Scores (N, C) and truths (N,) of all samples."""
    scores = np.stack([s['pred_score'].numpy() for s in samples])
    return scores, np.array([s['gt_label'].item() for s in samples])


def test_top_k_equals_the_rank_of_the_truth():
    samples = random_samples()
    _, metrics = evaluated(samples, topk=(1, 3, 5, 7, 9))
    scores, truths = arrays(samples)
    ranks = (scores > scores[np.arange(len(truths)), truths][:, None]).sum(1)
    for k in (1, 3, 5):
        assert metrics[f'accuracy/top{k}'] == (ranks < k).mean()
    assert metrics['accuracy/top7'] == 1
    assert 'accuracy/top9' not in metrics


def test_metrics_of_each_class_equal_those_counted_from_sets_of_images():
    samples = random_samples()
    metric, metrics = evaluated(samples)
    scores, truths = arrays(samples)
    predicted = scores.argmax(1)
    means = []
    for k, name in enumerate(CLASSES[:-1]):
        both = int(((truths == k) & (predicted == k)).sum())
        there, found = int((truths == k).sum()), int((predicted == k).sum())
        expected = dict(
            recall=both / there, precision=both / found, f1=2 * both / (there + found), images=there
        )
        assert {key: metric.details[f'{key}/{name}'] for key in expected} == expected
        means.append([expected[key] for key in ('recall', 'precision', 'f1')])
    for key, mean in zip(('recall', 'precision', 'f1'), np.mean(means, axis=0)):
        assert metrics[key] == pytest.approx(mean, rel=1e-15)


def test_metrics_equal_those_of_mmpretrain_up_to_single_precision():
    samples = [s for s in random_samples() if s['gt_label'].item() != 5]
    for s in samples:  # mmpretrain takes a class without images for one with recall 0
        s['pred_score'] = s['pred_score'][:5]
    _, metrics = evaluated(samples, CLASSES[:5], topk=(1, 3))
    scores, truths = map(torch.from_numpy, arrays(samples))
    accuracies = Accuracy.calculate(scores, truths, topk=(1, 3))
    precision, recall, f1, _ = SingleLabelMetric.calculate(scores, truths)[0]
    expected = [*(a[0].item() for a in accuracies), precision.item(), recall.item(), f1.item()]
    assert [100 * value for value in metrics.values()] == pytest.approx(expected, rel=1e-6)


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    samples = random_samples()
    metric, _ = evaluated(samples)
    scores, truths = arrays(samples)
    expected = np.zeros((7, 7), int)
    np.add.at(expected, (truths, scores.argmax(1)), 1)
    assert metric.confusion_matrix.dtype == np.int64
    np.testing.assert_array_equal(metric.confusion_matrix, expected)
    assert (expected != expected.T).any()


def test_a_class_without_images_has_no_recall_and_lowers_no_mean():
    metric, metrics = evaluated([sample([1, 0, 0], 0), sample([0, 0, 1], 1)], 'abc')
    assert math.isnan(metric.details['recall/c'])
    assert math.isnan(metric.details['precision/b'])
    assert metric.details['precision/c'] == metric.details['f1/c'] == 0
    assert metric.details['images/c'] == 0
    # 'b' is never predicted: its precision counts as 0.
    assert metrics == {'accuracy/top1': 0.5, 'precision': 0.5, 'recall': 0.5, 'f1': 0.5}


def test_of_equal_scores_the_lower_class_comes_first():
    metric, metrics = evaluated([sample([0.2, 0.4, 0.4], 2)] * 3, 'abc', topk=(1, 2))
    assert metrics['accuracy/top1'] == 0
    assert metrics['accuracy/top2'] == 1
    assert metric.images[0].best == (1, 2)


def test_a_probability_that_is_rounded_to_zero_is_a_prediction_still():
    _, metrics = evaluated([sample([1, 0, 0], 1)], 'abc', topk=(1, 2))
    assert metrics['accuracy/top2'] == 1


def test_every_image_is_kept_in_the_order_of_the_dataset():
    samples = random_samples()
    metric, _ = evaluated(samples, topk=(1, 2))
    scores, truths = arrays(samples)
    for i, image in enumerate(metric.images):
        assert image.path == f'images/{i}.jpg'
        assert (image.truth, image.predicted) == (truths[i], scores[i].argmax())
        assert image.truth_score == scores[i, truths[i]]
        assert image.scores == tuple(sorted(scores[i].tolist(), reverse=True)[:2])


def test_images_that_pad_the_last_batch_are_counted_once():
    samples = random_samples(9)
    metric = ClassificationAccuracy()
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, [*samples, samples[0]])
    metric.evaluate(9)
    assert metric.confusion_matrix.sum() == 9


def test_a_model_with_other_classes_than_the_data_is_refused():
    with pytest.raises(InputError, match='the model has 3 classes and the data has 7'):
        evaluated([sample([0, 0, 1], 0)])


def test_a_label_beyond_the_classes_is_refused_with_its_file():
    with pytest.raises(InputError, match=r'images/a\.jpg: its class is number 3'):
        evaluated([sample([0, 0, 1], 3)], 'abc')


def test_a_model_that_has_diverged_is_not_given_metrics():
    with pytest.raises(InputError, match=r'1 of 2 images .* images/b\.jpg\. .*diverged'):
        evaluated([sample([0, 0, 1], 0), sample([math.nan] * 3, 0, 'images/b.jpg')], 'abc')


def test_images_without_classes_cannot_be_evaluated():
    unlabelled = sample([0, 1], 0)
    del unlabelled['gt_label']
    with pytest.raises(InputError, match='have no classes'):
        evaluated([unlabelled], 'ab')


def test_data_without_class_names_has_numbers():
    metric, _ = evaluated([sample([0, 1], 0)], None)
    assert metric.classes == ('0', '1')


def test_predictions_of_images_without_a_class_are_kept_and_nothing_is_computed(tmp_path):
    samples = random_samples()
    without = [{key: value for key, value in s.items() if key != 'gt_label'} for s in samples]
    metric, metrics = evaluated([*without, samples[0]], keep_unlabelled=True)
    assert metrics == metric.details == {}
    write_predictions(tmp_path / 'p.json', metric)
    records = json.loads((tmp_path / 'p.json').read_text())
    assert [record['truth'] is None for record in records] == [True] * len(samples) + [False]
    best = [CLASSES[int(s['pred_score'].argmax())] for s in samples]
    assert [record['predicted'] for record in records[:-1]] == best


def test_images_with_a_class_are_counted_whatever_is_kept():
    samples = random_samples()
    assert evaluated(samples, keep_unlabelled=True)[1] == evaluated(samples)[1]
