"""The comparison of a file with PyTorch."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')
pytest.importorskip('onnx')
from export_models import CLASSES
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casvit_mm import InputError, deploy
from casvit_mm.export import compare as comparing
from casvit_mm.export import load_model
from casvit_mm.export.compare import Comparison, Tolerance, compare
from casvit_mm.export.reference import reference

load = partial(deploy.load, trusted=True)


@pytest.mark.parametrize('change', ['shift', 'label', 'lost'])
def test_the_comparison_sees_a_wrong_detection(written, models, photos, monkeypatch, change):
    predictor = load(written('maskrcnn', 'onnx')[0])
    run = predictor.engine.run

    def wrong(image):
        outputs = run(image)
        if change == 'shift':
            outputs['boxes'][..., 0::2] += 1
        elif change == 'label':
            outputs['labels'][:, 0] = (outputs['labels'][:, 0] + 1) % len(CLASSES)
        else:
            outputs['labels'][:, 0] = -1
        return outputs

    monkeypatch.setattr(predictor.engine, 'run', wrong)
    model = load_model(*models['maskrcnn'], None).model
    found = compare(model, predictor, sorted(photos.iterdir()))
    assert found.agreement < 0.99
    with pytest.raises(InputError, match='not accurate enough'):
        found.check(comparing.TOLERANCES['fp32'], 'fp32')


def test_images_without_an_object_agree(written, models, photos):
    predictor = load(written('maskrcnn', 'onnx')[0], score_thr=1.0)
    model = load_model(*models['maskrcnn'], None).model
    model.roi_head.test_cfg.score_thr = 1.0
    found = compare(model, predictor, sorted(photos.iterdir()))
    assert (found.objects, found.agreement) == (0, 1.0)


def test_a_nan_is_no_agreement():
    found = Comparison(1, None, float('nan'), float('nan'), 1.0)
    with pytest.raises(InputError, match='not accurate enough'):
        found.check(Tolerance(1, 0), 'fp32')


def test_average_precision_is_that_of_the_mm_package(written, models, photos):
    out, _ = written('maskrcnn', 'onnx')
    loaded = load_model(*models['maskrcnn'], None)
    predictor = load(out)
    ours, theirs, truth = [], [], []
    rng = np.random.default_rng(0)
    for number, file in enumerate(sorted(photos.iterdir())):
        ours += results_of(predictor(file), number)
        _, found = reference(loaded.model, 'detection', predictor.prepare(file))
        theirs += results_of(found, number)
        # Objects of about the half of what is found, a few pixels off.
        for entry in results_of(found, number)[::2]:
            x, y, w, h = entry['bbox'] + rng.normal(0, 2, 4)
            truth.append(dict(entry, bbox=[x, y, max(w, 4), max(h, 4)]))
    expected, got = (average_precision(truth, found) for found in (theirs, ours))
    assert 0.1 < expected < 0.9
    assert abs(expected - got) < 0.001


def results_of(found, image_id):
    return [
        dict(
            image_id=image_id,
            category_id=int(label),
            bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
            score=float(score),
        )
        for box, label, score in zip(found.boxes.tolist(), found.labels, found.scores)
    ]


def average_precision(truth, found):
    coco = COCO()
    coco.dataset = dict(
        images=[dict(id=i) for i in range(3)],
        categories=[dict(id=i) for i in range(len(CLASSES))],
        annotations=[
            dict(entry, id=i, iscrowd=0, area=entry['bbox'][2] * entry['bbox'][3])
            for i, entry in enumerate(truth, start=1)
        ],
    )
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(found), 'bbox')
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats[0]


def detections(boxes, masks):
    number = len(boxes)
    scores, labels = np.full(number, 0.5, np.float32), np.zeros(number, np.int64)
    return deploy.Detections(np.array(boxes, np.float32), scores, labels, ('a',) * number, masks)


def test_masks_overlap_like_boxes_and_two_empty_ones_are_equal():
    boxes = [[0, 0, 4, 4], [10, 10, 14, 14]]
    full = np.zeros((2, 20, 20), bool)
    full[0, :4, :4] = True
    half = full.copy()
    half[0, :1] = False  # 12 of 16 pixels
    same = comparing._compare_detections(detections(boxes, full), detections(boxes, full))
    less = comparing._compare_detections(detections(boxes, full), detections(boxes, half))
    assert same.agreement == 1
    assert less.agreement == (0.75 + 1) / 2
