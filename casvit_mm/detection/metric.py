"""COCO average precision, computed by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from mmdet.evaluation import CocoMetric
from mmengine.fileio import get_local_path, load
from mmengine.registry import METRICS

from casvit_mm.detection.dataset import NamedCoco

__all__ = ['CocoAP']

_AREAS = ('', '_s', '_m', '_l')  # order of the area axis in COCO's evaluation arrays


@METRICS.register_module()
class CocoAP(CocoMetric):
    """COCO's box and mask AP, also per class, and beyond 100 detections per image if asked.

    The figures are pycocotools' (https://cocodataset.org/#detection-eval): ``{bbox,segm}_mAP``,
    ``_mAP_50``, ``_mAP_75``, ``_mAP_{s,m,l}`` with at most 100 detections per image and class,
    ``_AR@100``, and ``_AP/<class>``. With ``max_dets`` other than 100 the same follow once more
    with the suffix ``_maxDets<n>``. A class or size without ground truth gives NaN and is left out
    of the means. mmdet's CocoMetric differs in three ways: it counts up to 1000 detections in every
    figure but the first, rounds to three digits, and loses an object whose annotation id is 0.

    Args:
        ann_file: COCO annotation file, the ground truth.
        metric: ``'bbox'``, ``'segm'`` or both.
        max_dets: Detections per image and class beyond COCO's 100.
        format_only: Write the predictions and compute nothing.
        outfile_prefix: Where to write the predictions, as ``<prefix>.{bbox,segm}.json``.
        backend_args: How MMEngine's file client reads ``ann_file``.
        collect_device: ``'cpu'`` or ``'gpu'``, through which ranks exchange results.
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
    ) -> None:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools reports on stdout
            super().__init__(
                ann_file=None,  # it would read the file once more
                metric=metric,
                format_only=format_only,
                outfile_prefix=outfile_prefix,
                backend_args=backend_args,
                collect_device=collect_device,
            )
            with get_local_path(ann_file, backend_args=backend_args) as path:
                self._coco_api = NamedCoco(path)
        content = load(ann_file, backend_args=backend_args)
        # COCO's matching takes an annotation with id 0 for "no match", so ids start at 1 here.
        for number, annotation in enumerate(content['annotations'], 1):
            annotation['id'] = number
        self._ground_truth = COCO(content)
        self.max_dets = max_dets

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the figures named above for the predictions of all ranks."""
        predictions = [prediction for _, prediction in results]
        self.cat_ids = self._coco_api.get_cat_ids(cat_names=self.dataset_meta['classes'])
        self.img_ids = self._coco_api.get_img_ids()
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json(predictions, self.outfile_prefix or str(Path(folder, 'pred')))
            if self.format_only:
                return {}
            figures: dict[str, float] = {}
            for iou_type in self.metrics:
                figures.update(self._evaluate(iou_type, load(files[iou_type])))
        return figures

    def _evaluate(self, iou_type: str, detections: list[dict[str, Any]]) -> dict[str, float]:
        if iou_type == 'segm':
            for detection in detections:  # else the box decides which size class a mask is in
                detection.pop('bbox')
        limits = sorted({1, 10, 100, self.max_dets})
        # faster-coco-eval matches at most limits[-1] per image; a lower limit's matches are the
        # first of them, so one pass serves all.
        evaluator = COCOeval_faster(
            self._ground_truth,
            self._ground_truth.loadRes(detections),
            iou_type,
            print_function=lambda *_: None,
        )
        evaluator.params.catIds = self.cat_ids
        evaluator.params.imgIds = self.img_ids
        evaluator.params.maxDets = limits
        evaluator.evaluate()
        evaluator.accumulate()
        precision = evaluator.eval['precision']  # (IoU, recall, class, area, limit)
        recall = evaluator.eval['recall']  # (IoU, class, area, limit)
        # The evaluator sorts class ids, ours follow dataset_meta['classes'].
        column = {cat_id: i for i, cat_id in enumerate(sorted(self.cat_ids))}

        figures = {}
        for limit in dict.fromkeys((100, self.max_dets)):
            suffix = '' if limit == 100 else f'_maxDets{limit}'
            at = limits.index(limit)
            for area, size in enumerate(_AREAS):
                figures[f'{iou_type}_mAP{size}{suffix}'] = _mean(precision[:, :, :, area, at])
            figures[f'{iou_type}_mAP_50{suffix}'] = _mean(precision[0, :, :, 0, at])
            figures[f'{iou_type}_mAP_75{suffix}'] = _mean(precision[5, :, :, 0, at])
            figures[f'{iou_type}_AR@{limit}'] = _mean(recall[:, :, 0, at])
            for name, cat_id in zip(self.dataset_meta['classes'], self.cat_ids, strict=True):
                ap = _mean(precision[:, :, column[cat_id], 0, at])
                figures[f'{iou_type}_AP{suffix}/{name}'] = ap
        return figures


def _mean(values: Sequence[float] | np.ndarray) -> float:
    """Mean of an evaluation array, where -1 marks what has no ground truth."""
    values = np.asarray(values)
    values = values[values > -1]
    return float(values.mean()) if values.size else float('nan')
