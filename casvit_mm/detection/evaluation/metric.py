"""COCO average precision, computed by faster-coco-eval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from mmdet.evaluation import CocoMetric
from mmengine.fileio import load
from mmengine.registry import METRICS

from casvit_mm.datasets.formats.packed import no_collection
from casvit_mm.detection.dataset import NamedCoco
from casvit_mm.errors import InputError

__all__ = ['CocoAP']

_AREAS = ('', '_s', '_m', '_l')  # order of the area axis in COCO's evaluation arrays


@METRICS.register_module()
class CocoAP(CocoMetric):
    """COCO's box and mask AP, also per class, and beyond 100 detections per image if asked.

    The metrics are pycocotools' (https://cocodataset.org/#detection-eval): ``{bbox,segm}_mAP``,
    ``_mAP_50``, ``_mAP_75``, ``_mAP_{s,m,l}`` with at most 100 detections per image and class,
    ``_AR@100``, and ``_AP/<class>``. With ``max_dets`` other than 100 the same follow once more
    with the suffix ``_maxDets<n>``. A class or size without ground truth gives NaN and is left out
    of the means. mmdet's CocoMetric differs in three ways: it counts up to 1000 detections in every
    metric but the first, rounds to three digits, and loses an object whose annotation id is 0.

    Args:
        ann_file: COCO annotation file, the ground truth.
        metric: ``'bbox'``, ``'segm'`` or both.
        max_dets: Detections per image and class beyond COCO's 100.
        format_only: Write the predictions and compute nothing, as it is also done where
            ``ann_file`` has no annotations.
        outfile_prefix: Where to write the predictions, as ``<prefix>.{bbox,segm}.json``.
        backend_args: How MMEngine's file client reads ``ann_file``.
        collect_device: ``'cpu'`` or ``'gpu'``, through which ranks exchange results.
        keep_predictions: Keep what was evaluated in ``predictions``.

    Attributes:
        details: After an evaluation, on rank 0, the metrics that a log has no room for:
            ``{bbox,segm}_AP{_50,_75,_s,_m,_l}/<class>``, ``_AR@100/<class>``, the same with
            ``_maxDets<n>``, and ``objects/<class>``, the number of objects that are no crowd.
        curves: After an evaluation, on rank 0, precision at ``max_dets`` by ``'bbox'`` and
            ``'segm'``, of shape (10 IoU thresholds 0.5 to 0.95, 101 recalls 0 to 1, classes); -1
            where a class has no ground truth.
        predictions: With ``keep_predictions``, on rank 0, the COCO results by ``'bbox'`` and
            ``'segm'``, in the ground truth's category ids.
        files: After an evaluation, on rank 0, the files of ``outfile_prefix`` that were written.
        ground_truth: COCO's dictionary, with annotation ids from 1 on.
        categories: After an evaluation, on rank 0, class names by category id, in the order of the
            dataset's classes.

    Raises:
        InputError: If it would compute nothing and write nothing.
    """

    def __init__(
        self,
        ann_file: str,
        metric: str | list[str] = 'bbox',
        max_dets: int = 100,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        keep_predictions: bool = False,
    ) -> None:
        super().__init__(
            ann_file=None,  # it would read the file once more
            metric=metric,
            outfile_prefix=outfile_prefix,
            backend_args=backend_args,
            collect_device=collect_device,
        )
        with no_collection():
            self.ground_truth = load(ann_file, backend_args=backend_args)
        # Of ids of images and categories alone; the annotations are numbered anew below.
        listed = {key: self.ground_truth[key] for key in ('images', 'categories')}
        self._coco_api = NamedCoco.of(listed)
        self.format_only = format_only or not self.ground_truth.setdefault('annotations', [])
        if self.format_only and not (outfile_prefix or keep_predictions):
            why = (
                'format_only computes nothing' if format_only else f'{ann_file} has no annotations'
            )
            raise InputError(
                f'CocoAP: {why}, and no file for the predictions is named: --out-pred FILE, or '
                'test_evaluator.outfile_prefix=PREFIX for PREFIX.bbox.json'
            )
        # COCO's matching takes an annotation with id 0 for "no match", so ids start at 1 here.
        for number, annotation in enumerate(self.ground_truth['annotations'], 1):
            annotation['id'] = number
        self._truth = COCO(self.ground_truth)
        self.max_dets = max_dets
        self.keep_predictions = keep_predictions
        self.details: dict[str, float] = {}
        self.curves: dict[str, np.ndarray] = {}
        self.predictions: dict[str, list[dict[str, Any]]] = {}
        self.categories: dict[int, str] = {}
        self.files: list[str] = []

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the metrics named above for the predictions of all ranks."""
        with no_collection():
            return self._compute([prediction for _, prediction in results])

    def _compute(self, predictions: list[dict[str, Any]]) -> dict[str, float]:
        self.cat_ids = self._coco_api.get_cat_ids(cat_names=self.dataset_meta['classes'])
        self.img_ids = self._coco_api.get_img_ids()
        self.categories = dict(zip(self.cat_ids, self.dataset_meta['classes'], strict=True))
        if self.outfile_prefix:
            self.files = sorted(set(self.results2json(predictions, self.outfile_prefix).values()))
        detections = {kind: self._detections(predictions, kind) for kind in self.metrics}
        if self.keep_predictions:  # the evaluation adds to what it is given
            self.predictions = {key: [dict(d) for d in found] for key, found in detections.items()}
        if self.format_only:
            return {}

        objects = Counter(
            annotation['category_id']
            for annotation in self.ground_truth['annotations']
            if not annotation.get('iscrowd', 0)
        )
        self.details = {f'objects/{name}': objects[i] for i, name in self.categories.items()}
        metrics: dict[str, float] = {}
        for iou_type in self.metrics:
            precision, recall = self._evaluate(iou_type, detections[iou_type])
            self.curves[iou_type] = precision[:, :, :, 0, self._limits.index(self.max_dets)]
            metrics.update(self._means(iou_type, precision, recall))
            self.details.update(self._class_metrics(iou_type, precision, recall))
        return metrics

    def _detections(self, predictions: list[dict[str, Any]], iou_type: str) -> list[dict[str, Any]]:
        """Return the COCO results that the parent's ``results2json`` writes, without a file."""
        found: list[dict[str, Any]] = []
        for number, result in enumerate(predictions):
            image_id = result.get('img_id', number)
            boxes = np.array(result['bboxes'], dtype=np.float64).reshape(-1, 4)
            boxes[:, 2:] -= boxes[:, :2]
            scores = result['scores']
            if iou_type == 'segm':
                scores = result.get('mask_scores', scores)
            columns = (np.asarray(values).tolist() for values in (boxes, scores, result['labels']))
            new = [
                dict(image_id=image_id, bbox=box, score=score, category_id=self.cat_ids[label])
                for box, score, label in zip(*columns, strict=True)
            ]
            if iou_type == 'segm':
                for detection, mask in zip(new, result['masks'], strict=True):
                    detection['segmentation'] = _as_text(mask)
            found += new
        return found

    @property
    def _limits(self) -> list[int]:
        return sorted({1, 10, 100, self.max_dets})

    def _evaluate(
        self, iou_type: str, detections: list[dict[str, Any]]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return precision (IoU, recall, class, area, limit) and recall (IoU, class, area, limit).

        -1 marks what has no ground truth. Classes are in the order of the dataset's.
        """
        if iou_type == 'segm':
            for detection in detections:  # else the box decides which size class a mask is in
                detection.pop('bbox')
        # faster-coco-eval matches at most limits[-1] per image; a lower limit's matches are the
        # first of them, so one pass serves all.
        evaluator = COCOeval_faster(
            self._truth,
            self._truth.loadRes(detections),
            iou_type,
            print_function=lambda *_: None,
        )
        evaluator.params.catIds = self.cat_ids
        evaluator.params.imgIds = self.img_ids
        evaluator.params.maxDets = self._limits
        evaluator.evaluate()
        evaluator.accumulate()
        # The evaluator sorts class ids, ours follow dataset_meta['classes'].
        order = [sorted(self.cat_ids).index(cat_id) for cat_id in self.cat_ids]
        return evaluator.eval['precision'][:, :, order], evaluator.eval['recall'][:, order]

    def _means(self, iou_type: str, precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
        """Return the metrics over all classes, and AP of each."""
        metrics = {}
        for limit in dict.fromkeys((100, self.max_dets)):
            at, suffix = self._limits.index(limit), _suffix(limit)
            for area, size in enumerate(_AREAS):
                metrics[f'{iou_type}_mAP{size}{suffix}'] = _mean(precision[:, :, :, area, at])
            metrics[f'{iou_type}_mAP_50{suffix}'] = _mean(precision[0, :, :, 0, at])
            metrics[f'{iou_type}_mAP_75{suffix}'] = _mean(precision[5, :, :, 0, at])
            metrics[f'{iou_type}_AR@{limit}'] = _mean(recall[:, :, 0, at])
            for k, name in enumerate(self.categories.values()):
                metrics[f'{iou_type}_AP{suffix}/{name}'] = _mean(precision[:, :, k, 0, at])
        return metrics

    def _class_metrics(
        self, iou_type: str, precision: np.ndarray, recall: np.ndarray
    ) -> dict[str, float]:
        """Return the metrics of each class at single IoUs and for single sizes."""
        metrics = {}
        for limit in dict.fromkeys((100, self.max_dets)):
            at, suffix = self._limits.index(limit), _suffix(limit)
            for k, name in enumerate(self.categories.values()):
                metrics[f'{iou_type}_AP_50{suffix}/{name}'] = _mean(precision[0, :, k, 0, at])
                metrics[f'{iou_type}_AP_75{suffix}/{name}'] = _mean(precision[5, :, k, 0, at])
                for area, size in list(enumerate(_AREAS))[1:]:
                    ap = _mean(precision[:, :, k, area, at])
                    metrics[f'{iou_type}_AP{size}{suffix}/{name}'] = ap
                metrics[f'{iou_type}_AR@{limit}/{name}'] = _mean(recall[:, k, 0, at])
        return metrics


def _as_text(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle['counts']
    return {**rle, 'counts': counts.decode()} if isinstance(counts, bytes) else dict(rle)


def _suffix(limit: int) -> str:
    return '' if limit == 100 else f'_maxDets{limit}'


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of an evaluation array, where -1 marks what has no ground truth."""
    values = np.asarray(values)
    values = values[values > -1]
    return float(values.mean()) if values.size else float('nan')
