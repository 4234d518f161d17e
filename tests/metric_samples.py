"""Samples as the evaluators of mmseg and mmpretrain hand them over, and their evaluation twice."""

import numpy as np
import torch
from helpers import run_ranks

LABELS = ('road', 'tree', 'car', 'sign', 'never')
MATERIALS = ('paper', 'glass', 'metal', 'cardboard', 'plastic', 'trash', 'never')


def labelled(truth, prediction, path='images/a.jpg', **meta):
    """A sample of a segmentor."""
    return dict(
        img_path=path,
        gt_sem_seg=dict(data=torch.as_tensor(np.asarray(truth))[None]),
        pred_sem_seg=dict(data=torch.as_tensor(np.asarray(prediction))[None]),
        **meta,
    )


def random_labelled(number=7, side=40):
    """Random masks; "never" occurs nowhere, "sign" only in predictions, some pixels are ignored."""
    rng = np.random.default_rng(0)
    samples = []
    for i in range(number):
        truth = rng.integers(0, 3, (side, side + 8)).astype(np.uint8)
        wrong = rng.random(truth.shape) < 0.3
        prediction = np.where(wrong, rng.integers(0, 4, truth.shape), truth)
        truth[rng.random(truth.shape) < 0.1] = 255
        samples.append(labelled(truth, prediction.astype(np.int64), f'images/{i}.jpg'))
    return samples


def classified(scores, truth, path='images/a.jpg'):
    """A sample of a classifier."""
    return dict(
        img_path=path,
        gt_label=torch.tensor([truth]),
        pred_score=torch.as_tensor(np.asarray(scores, np.float32)),
    )


def random_classified(number=61):
    """Random probabilities that are often right: no image is of the class 'never'."""
    rng = np.random.default_rng(0)
    truths = rng.integers(0, len(MATERIALS) - 1, number)
    logits = rng.normal(0, 1, (number, len(MATERIALS)))
    logits[np.arange(number), truths] += 1
    scores = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return [
        classified(score, truth, f'images/{i}.jpg')
        for i, (score, truth) in enumerate(zip(scores, truths))
    ]


def evaluated_labelled(samples, classes=LABELS, meta=None, **options):
    """A segmentation metric after an evaluation, and its values."""
    from casvit_mm.segmentation import SegmentationIoU

    metric = SegmentationIoU(**options)
    metric.dataset_meta = dict(classes=classes, **(meta or {}))
    metric.process(None, samples)
    return metric, metric.evaluate(len(samples))


def evaluated_classified(samples, classes=MATERIALS, **options):
    """A classification metric after an evaluation in batches of eight, and its values."""
    from casvit_mm.classification import ClassificationAccuracy

    metric = ClassificationAccuracy(**options)
    metric.dataset_meta = dict(classes=classes)
    for start in range(0, len(samples), 8):
        metric.process(None, samples[start : start + 8])
    return metric, metric.evaluate(len(samples))


def evaluate_in_two_processes(evaluate, samples, folder):
    """Evaluate in two processes.

    ``evaluate`` takes the rank, the samples of this rank (the first one once more as padding),
    their number in all, and ``folder``.
    """

    def work():
        torch.distributed.init_process_group('gloo')
        rank = torch.distributed.get_rank()
        evaluate(rank, [*samples, samples[0]][rank::2], len(samples), folder)

    assert run_ranks(2, work) == [0, 0]


def evaluate_segmentation(rank, samples, total, folder):
    """Keep the metrics, the order of the images, and a mask per image."""
    from casvit_mm.segmentation import SegmentationIoU

    metric = SegmentationIoU(out_dir=f'{folder}/out', root='images')
    metric.dataset_meta = dict(classes=LABELS)
    metric.process(None, samples)
    torch.save(metric.evaluate(total), f'{folder}/{rank}.pt')
    if rank == 0:
        torch.save([image.path for image in metric.images], f'{folder}/images.pt')


def evaluate_classification(rank, samples, total, folder):
    """Keep the metrics, and a file of predictions."""
    from casvit_mm.classification import ClassificationAccuracy
    from casvit_mm.classification.evaluation.predictions import write_predictions

    metric = ClassificationAccuracy()
    metric.dataset_meta = dict(classes=MATERIALS)
    metric.process(None, samples)
    torch.save(metric.evaluate(total), f'{folder}/{rank}.pt')
    if rank == 0:
        write_predictions(f'{folder}/predictions.json', metric)
