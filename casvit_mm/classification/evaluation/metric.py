"""Accuracy of a classifier, on the whole and by class, from exact counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import ConfusionMatrix
from mmpretrain.registry import METRICS

from casvit_mm.errors import DivergedError, InputError, first_names

__all__ = ['ClassificationAccuracy', 'ClassifiedImage', 'class_rates']


_UNKNOWN = -1  # class of an image that has none


@dataclass(frozen=True)
class ClassifiedImage:
    """What a classifier made of one image.

    Attributes:
        path: The image; empty where the dataset has no files.
        truth: Number of its class; -1 where the dataset has no classes of its images.
        truth_score: Probability of that class; without a class of no meaning.
        best: Numbers of the most probable classes, by falling probability.
        scores: Their probabilities.
    """

    path: str
    truth: int
    truth_score: float
    best: tuple[int, ...]
    scores: tuple[float, ...]

    @property
    def predicted(self) -> int:
        """Number of the most probable class."""
        return self.best[0]

    @property
    def score(self) -> float:
        """Probability of the most probable class."""
        return self.scores[0]


@METRICS.register_module()
class ClassificationAccuracy(BaseMetric):
    """Top-k accuracy, and recall, precision and F1 by class and on average, as fractions.

    ``accuracy/top<k>`` is the part of the images whose class is among the k most probable. Recall
    is the part of a class's images that are found, precision the part of the images taken for a
    class that are of it, F1 their harmonic mean. ``recall``, ``precision`` and ``f1`` are the means
    over the classes that have images; the precision of a class that is never predicted counts as 0
    there, as in scikit-learn. Of equally probable classes the one with the lower number comes
    first, on any device. mmpretrain's Accuracy and SingleLabelMetric differ in three ways: they
    count in single precision, take a class without images for one with recall 0, and take a
    probability that is rounded to 0 for no prediction.

    Args:
        topk: The k of the accuracies; k above the number of classes is left out.
        keep_unlabelled: Take images without a class, and then keep the predictions of all images
            and compute nothing.
        collect_device: ``'cpu'`` or ``'gpu'``, through which ranks exchange results.
        prefix: Put before each metric's name, with a slash.

    Attributes:
        classes: After an evaluation, on rank 0, the class names; numbers where the dataset has
            none.
        details: After an evaluation, on rank 0, the metrics that a log has no room for:
            ``recall/<class>``, ``precision/<class>``, ``f1/<class>``, and ``images/<class>`` in the
            truth; NaN where there is nothing to divide by.
        confusion_matrix: After an evaluation, on rank 0, images as int64 ``(C, C)``, row truth,
            column prediction.
        images: After an evaluation, on rank 0, each image in the order of the dataset, with as
            many classes as the largest k.

    Raises:
        ValueError: If a k is below 1.
    """

    default_prefix = ''  # None would make MMEngine warn

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        keep_unlabelled: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not topk or min(topk) < 1:
            raise ValueError(f'topk must hold numbers from 1, got {topk}')
        self.topk = tuple(topk)
        self.keep_unlabelled = keep_unlabelled
        self.classes: tuple[str, ...] = ()
        self.details: dict[str, float] = {}
        self.confusion_matrix = np.zeros((0, 0), np.int64)
        self.images: list[ClassifiedImage] = []
        self._num_outputs = 0

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the most probable classes of a batch.

        Raises:
            InputError: If an image has no class, unless such are kept.
        """
        if not (self.keep_unlabelled or all('gt_label' in sample for sample in data_samples)):
            raise InputError(
                'the images to evaluate on have no classes; name a split that has, or write the '
                'predictions by --out-pred FILE'
            )
        scores = torch.stack([sample['pred_score'] for sample in data_samples]).float()  # (B, C)
        unknown = torch.tensor([_UNKNOWN])
        truths = torch.cat([sample.get('gt_label', unknown).cpu() for sample in data_samples])
        truths = truths.to(scores.device)
        self._num_outputs = scores.shape[1]
        # A class that does not exist is refused by compute_metrics, on rank 0.
        known = truths.clamp(0, self._num_outputs - 1)
        truth_scores = scores.gather(1, known[:, None]).squeeze(1)
        kept = max([1, *self._possible_topk(self._num_outputs)])
        ordered, best = scores.sort(dim=1, descending=True, stable=True)
        columns = (truths, truth_scores, best[:, :kept], ordered[:, :kept])
        rows = zip(*(column.tolist() for column in columns), strict=True)
        for sample, (truth, truth_score, classes, probabilities) in zip(
            data_samples, rows, strict=True
        ):
            path = str(sample.get('img_path', ''))
            image = ClassifiedImage(path, truth, truth_score, tuple(classes), tuple(probabilities))
            self.results.append(image)

    def compute_metrics(self, results: list[ClassifiedImage]) -> dict[str, float]:
        """Return the accuracies and the three means over the images of all ranks.

        Nothing where images without a class are kept and there is one.

        Raises:
            InputError: If model and data differ in their classes.
            DivergedError: If the score of an image is no number.
        """
        names = (self.dataset_meta or {}).get('classes')
        self.classes = tuple(map(str, range(self._num_outputs)) if names is None else names)
        self._check(results)
        self.images = results
        if not self._all_labelled(results):
            return {}
        self.confusion_matrix = ConfusionMatrix.calculate(
            torch.tensor([image.predicted for image in results], dtype=torch.int64),
            torch.tensor([image.truth for image in results], dtype=torch.int64),
            len(self.classes),
        ).numpy()
        recall, precision, f1 = class_rates(self.confusion_matrix)
        images = self.confusion_matrix.sum(1)
        self.details = {}
        named = (('recall', recall), ('precision', precision), ('f1', f1), ('images', images))
        for key, values in named:
            pairs = zip(self.classes, values.tolist(), strict=True)
            self.details |= {f'{key}/{name}': value for name, value in pairs}
        metrics = {}
        for k in self._possible_topk(len(self.classes)):
            metrics[f'accuracy/top{k}'] = _mean(
                [image.truth in image.best[:k] for image in results]
            )
        there = images > 0
        metrics['precision'] = _mean(np.nan_to_num(precision[there]))
        metrics['recall'] = _mean(recall[there])
        metrics['f1'] = _mean(f1[there])
        return metrics

    def taken_for(self) -> dict[str, tuple[str, float]]:
        """Return what each class is most often taken for, and for which share of its images.

        After an evaluation, on rank 0. A class none of whose images is wrong is left out.
        """
        wrong = self.confusion_matrix * ~np.eye(len(self.classes), dtype=bool)
        shares = wrong / np.maximum(self.confusion_matrix.sum(1, keepdims=True), 1)
        return {
            name: (self.classes[row.argmax()], float(row.max()))
            for name, row in zip(self.classes, shares, strict=True)
            if row.any()
        }

    def _all_labelled(self, results: list[ClassifiedImage]) -> bool:
        return not self.keep_unlabelled or all(image.truth != _UNKNOWN for image in results)

    def _possible_topk(self, num_classes: int) -> list[int]:
        return [k for k in self.topk if k <= num_classes]

    def _check(self, results: list[ClassifiedImage]) -> None:
        number = len(self.classes)
        if results and self._num_outputs != number:
            raise InputError(
                f'the model has {self._num_outputs} classes and the data has {number}: '
                f'{first_names(self.classes, 5)}. Evaluate it on '
                'data of the classes that it was trained on.'
            )
        for image in results if self._all_labelled(results) else ():
            if not 0 <= image.truth < number:
                raise InputError(
                    f'{image.path}: its class is number {image.truth}, but there are only {number} '
                    'classes, counted from 0'
                )
        lost = [image.path for image in results if np.isnan(image.score)]
        if lost:
            raise DivergedError(
                f'the scores of {len(lost)} of {len(results)} images are no numbers (NaN): '
                f'{first_names(lost, 3)}. The training of the model has diverged: train with a '
                'lower learning rate, or evaluate an earlier checkpoint.'
            )


def class_rates(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return recall, precision and F1 of each class, ``(C,)``; NaN for 0 / 0.

    Args:
        matrix: Images, int64 ``(C, C)``, row truth, column prediction.
    """
    right, truth, predicted = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    return _ratio(right, truth), _ratio(right, predicted), _ratio(2 * right, truth + predicted)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)


def _mean(values: np.ndarray | list[bool]) -> float:
    return float(np.mean(values)) if len(values) else float('nan')
