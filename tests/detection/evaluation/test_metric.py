import contextlib
import io
import json

import numpy as np
import pytest

pytest.importorskip('mmdet')
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from casvit_mm import InputError
from casvit_mm.detection import CocoAP
from casvit_mm.detection.evaluation import metric as evaluation_metric
from casvit_mm.detection.evaluation.predictions import write_predictions

CLASSES = ('small', 'large', 'never')
SIDE = 200


def rectangle(x: float, y: float, w: float, h: float) -> dict:
    mask = np.zeros((SIDE, SIDE), np.uint8, order='F')
    mask[int(y) : int(y + h), int(x) : int(x + w)] = 1
    rle = mask_utils.encode(mask)
    return dict(rle, counts=rle['counts'].decode())


@pytest.fixture(scope='module')
def scene(tmp_path_factory):
    """A ground truth of 4 images, one crowded, and imperfect predictions as the model gives them.

    Category ids are neither consecutive nor in the order of the class names.
    """
    rng = np.random.default_rng(0)
    ids = {'large': 3, 'small': 7, 'never': 5}
    images, annotations, predictions = [], [], []
    for image_id, count in enumerate((12, 8, 170, 0), 1):
        images.append(dict(id=image_id, width=SIDE, height=SIDE, file_name=f'{image_id}.png'))
        boxes, scores, labels = [], [], []
        for _ in range(count):
            label = int(rng.integers(2)) if count < 100 else 0
            w, h = rng.integers(4, 20, 2) * (1 + 3 * label)
            x, y = rng.integers(0, SIDE - w), rng.integers(0, SIDE - h)
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=ids[CLASSES[label]],
                    bbox=[int(v) for v in (x, y, w, h)],
                    area=int(w * h),
                    segmentation=rectangle(x, y, w, h),
                    iscrowd=int(rng.random() < 0.1),
                )
            )
            for _ in range(int(rng.integers(0, 3))):
                dx, dy = rng.normal(0, 0.1, 2) * (w, h)
                boxes.append([x + dx, y + dy, x + dx + w, y + dy + h])
                scores.append(rng.random())
                labels.append(label if rng.random() < 0.9 else 1 - label)
        clipped = np.clip(np.array(boxes, np.float32).reshape(-1, 4), 0, SIDE)
        masks = [rectangle(a, b, max(c - a, 1), max(d - b, 1)) for a, b, c, d in clipped.round()]
        predictions.append(
            dict(
                img_id=image_id,
                bboxes=clipped,
                scores=np.array(scores, np.float32),
                labels=np.array(labels, np.int64),
                masks=masks,
            )
        )
    categories = [dict(id=i, name=name) for name, i in ids.items()]
    path = tmp_path_factory.mktemp('scene') / 'gt.json'
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return path, predictions


def scored(path, predictions, max_dets):
    """Return the metric after an evaluation, and its metrics."""
    metric = CocoAP(str(path), metric=['bbox', 'segm'], max_dets=max_dets, keep_predictions=True)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric, metric.compute_metrics([({}, prediction) for prediction in predictions])


def ours(path, predictions, max_dets):
    return scored(path, predictions, max_dets)[1]


def pycocotools_arrays(path, predictions, kind, max_dets):
    """Precision and recall arrays of pycocotools at ``max_dets``, and its ids by class name."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        ids = {c['name']: c['id'] for c in truth.dataset['categories']}
        detections = []
        for p in predictions:
            for box, score, label, mask in zip(p['bboxes'], p['scores'], p['labels'], p['masks']):
                x1, y1, x2, y2 = box.tolist()
                found = dict(image_id=p['img_id'], category_id=ids[CLASSES[label]])
                found['score'] = float(score)
                where = (
                    dict(bbox=[x1, y1, x2 - x1, y2 - y1])
                    if kind == 'bbox'
                    else dict(segmentation=mask)
                )
                detections.append({**found, **where})
        evaluator = COCOeval(truth, truth.loadRes(detections), kind)
        evaluator.params.maxDets = [1, 10, max_dets]
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator.eval['precision'][..., -1], evaluator.eval['recall'][..., -1], ids


def mean(values):
    return values[values > -1].mean() if (values > -1).any() else float('nan')


def reference(path, predictions, kind, max_dets):
    """Metrics over all classes and AP per class, read from the arrays of pycocotools."""
    precision, recall, ids = pycocotools_arrays(path, predictions, kind, max_dets)
    per_class = {}
    for name in CLASSES:
        per_class[name] = mean(precision[:, :, sorted(ids.values()).index(ids[name]), 0])
    metrics = {}
    for key, part in (
        ('', precision[:, :, :, 0]),
        ('_50', precision[0, :, :, 0]),
        ('_75', precision[5, :, :, 0]),
        ('_s', precision[:, :, :, 1]),
        ('_m', precision[:, :, :, 2]),
    ):
        metrics[key] = mean(part)
    return metrics, per_class, mean(recall[..., 0])


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('max_dets', [100, 400])
def test_metrics_equal_pycocotools(scene, kind, max_dets):
    path, predictions = scene
    metrics = ours(path, predictions, 400)
    expected, per_class, recall = reference(path, predictions, kind, max_dets)
    suffix = '' if max_dets == 100 else '_maxDets400'
    for key, value in expected.items():
        assert metrics[f'{kind}_mAP{key}{suffix}'] == pytest.approx(value, abs=1e-9)
    for name, value in per_class.items():
        assert metrics[f'{kind}_AP{suffix}/{name}'] == pytest.approx(value, abs=1e-9, nan_ok=True)
    assert metrics[f'{kind}_AR@{max_dets}'] == pytest.approx(recall, abs=1e-9)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
@pytest.mark.parametrize('max_dets', [100, 400])
def test_metrics_per_class_and_size_equal_pycocotools(scene, kind, max_dets):
    details = scored(*scene, 400)[0].details
    precision, recall, ids = pycocotools_arrays(*scene, kind, max_dets)
    suffix = '' if max_dets == 100 else '_maxDets400'
    compared = []
    for name in CLASSES:
        column = sorted(ids.values()).index(ids[name])
        expected = {
            f'{kind}_AP_50{suffix}': mean(precision[0, :, column, 0]),
            f'{kind}_AP_75{suffix}': mean(precision[5, :, column, 0]),
            f'{kind}_AP_s{suffix}': mean(precision[:, :, column, 1]),
            f'{kind}_AP_m{suffix}': mean(precision[:, :, column, 2]),
            f'{kind}_AP_l{suffix}': mean(precision[:, :, column, 3]),
            f'{kind}_AR@{max_dets}': mean(recall[:, column, 0]),
        }
        for key, value in expected.items():
            assert details[f'{key}/{name}'] == pytest.approx(value, abs=1e-9, nan_ok=True)
            compared.append(value)
    assert len(set(np.round(np.array(compared)[~np.isnan(compared)], 6))) > 6


def test_objects_are_counted_without_crowds(scene):
    path, predictions = scene
    annotations = json.loads(path.read_text())['annotations']
    details = scored(path, predictions, 100)[0].details
    assert sum(a['iscrowd'] for a in annotations) > 5
    assert details['objects/small'] + details['objects/large'] == sum(
        not a['iscrowd'] for a in annotations
    )
    assert details['objects/never'] == 0


def test_curves_hold_the_average_precision_of_each_class(scene):
    metric, metrics = scored(*scene, 400)
    for k, name in enumerate(CLASSES[:2]):
        expected = metrics[f'bbox_AP_maxDets400/{name}']
        assert metric.curves['bbox'][:, :, k].mean() == pytest.approx(expected)
    assert (metric.curves['segm'][:, :, 2] == -1).all()


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_written_predictions_score_the_same_in_pycocotools(scene, kind, tmp_path):
    path, predictions = scene
    metric, metrics = scored(path, predictions, 100)
    files = write_predictions(tmp_path / 'p.json', metric.predictions)
    assert [file.name for file in files] == ['p.json', 'p.segm.json']
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        found = truth.loadRes(str(files[kind == 'segm']))
        evaluator = COCOeval(truth, found, kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    names = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m')
    assert evaluator.stats[0] > 0.1
    for name, value in zip(names, evaluator.stats):
        assert metrics[f'{kind}_{name}'] == pytest.approx(value, abs=1e-9)


def test_predictions_keep_what_the_model_gave(scene):
    path, predictions = scene
    metric, _ = scored(path, predictions, 100)
    first, box = metric.predictions['bbox'][0], predictions[0]['bboxes'][0].tolist()
    assert set(first) == {'image_id', 'category_id', 'bbox', 'score'}
    assert first['bbox'][:2] == box[:2]
    assert first['category_id'] == {'small': 7, 'large': 3}[CLASSES[predictions[0]['labels'][0]]]


def test_no_prediction_is_written_as_an_empty_list(tmp_path):
    (file,) = write_predictions(tmp_path / 'p.json', dict(bbox=[]))
    assert json.loads(file.read_text()) == []


def test_predictions_that_do_not_fit_on_the_disk_leave_the_old_file(tmp_path):
    detection = dict(image_id=1, category_id=1, bbox=[0, 0, 1, 1], score=0.5)
    write_predictions(tmp_path / 'p.json', dict(bbox=[detection]))
    before = (tmp_path / 'p.json').read_text()
    (tmp_path / 'p.json.part').symlink_to('/dev/full')
    with pytest.raises(InputError, match=r'cannot write .*p\.json: No space left on device'):
        write_predictions(tmp_path / 'p.json', dict(bbox=[detection] * 2))
    assert (tmp_path / 'p.json').read_text() == before


def test_the_limit_matters_where_images_are_crowded(scene):
    metrics = ours(*scene, 400)
    assert metrics['bbox_mAP_maxDets400'] > metrics['bbox_mAP'] > 0.1
    assert not any('maxDets' in name for name in ours(*scene, 100))


def test_no_prediction_at_all_scores_zero(scene):
    path, predictions = scene
    none = [
        dict(img_id=p['img_id'], bboxes=np.zeros((0, 4)), scores=[], labels=[], masks=[])
        for p in predictions
    ]
    metrics = ours(path, none, 100)
    assert metrics['bbox_mAP'] == metrics['segm_mAP'] == 0


def test_an_object_with_annotation_id_zero_can_be_found(tmp_path):
    square = dict(id=0, image_id=0, category_id=0, bbox=[10, 10, 20, 20], area=400, iscrowd=0)
    image = dict(id=0, width=64, height=64, file_name='0.png')
    truth = dict(images=[image], annotations=[square], categories=[dict(id=0, name='small')])
    (tmp_path / 'gt.json').write_text(json.dumps(truth))
    metric = CocoAP(str(tmp_path / 'gt.json'))
    metric.dataset_meta = dict(classes=('small',))
    found = dict(img_id=0, bboxes=np.array([[10.0, 10, 30, 30]]), scores=[0.9], labels=[0])
    assert metric.compute_metrics([({}, found)])['bbox_mAP'] == 1


def detected(path, predictions, **options):
    metric = CocoAP(str(path), metric=['bbox', 'segm'], **options)
    metric.dataset_meta = dict(classes=CLASSES)
    return metric, metric.compute_metrics([({}, prediction) for prediction in predictions])


@pytest.fixture(params=[{}, {'annotations': []}], ids=['no list', 'an empty list'])
def unlabelled(scene, request, tmp_path):
    content = json.loads(scene[0].read_text())
    del content['annotations']
    path = tmp_path / 'unlabelled.json'
    path.write_text(json.dumps({**content, **request.param}))
    return path


def test_predictions_on_images_without_labels_are_kept_and_nothing_is_computed(unlabelled, scene):
    metric, metrics = detected(unlabelled, scene[1], keep_predictions=True)
    assert metrics == metric.details == {}
    labelled, _ = detected(*scene, keep_predictions=True)
    assert metric.predictions == labelled.predictions


def test_format_only_names_its_files_and_keeps_what_out_pred_writes(scene, tmp_path):
    prefix = str(tmp_path / 'p')
    metric, metrics = detected(
        *scene, format_only=True, outfile_prefix=prefix, keep_predictions=True
    )
    assert metrics == {}
    assert metric.files == [f'{prefix}.bbox.json', f'{prefix}.segm.json']
    assert json.loads((tmp_path / 'p.bbox.json').read_text()) == metric.predictions['bbox']


def test_nothing_to_compute_and_nothing_to_write_is_refused_before_predicting(scene, unlabelled):
    with pytest.raises(InputError, match=r'format_only computes nothing, .* --out-pred FILE'):
        CocoAP(str(scene[0]), format_only=True)
    with pytest.raises(InputError, match=r'unlabelled\.json has no annotations, .* --out-pred'):
        CocoAP(str(unlabelled))


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_detections_are_those_of_the_files_that_mmdet_writes(scene, kind, tmp_path):
    path, predictions = scene
    metric = scored(path, predictions, 100)[0]
    files = metric.results2json(predictions, str(tmp_path / 'found'))
    with open(files[kind]) as file:
        assert metric._detections(predictions, kind) == json.load(file)


def test_the_truth_is_read_once_and_no_prediction_goes_through_a_file(scene, monkeypatch):
    path, predictions = scene
    read = []
    load = evaluation_metric.load
    monkeypatch.setattr(evaluation_metric, 'load', lambda *a, **k: read.append(a) or load(*a, **k))
    monkeypatch.setattr('pycocotools.coco.open', None, raising=False)
    monkeypatch.setattr('mmdet.evaluation.metrics.coco_metric.dump', None)
    assert scored(path, predictions, 100)[1]['bbox_mAP'] > 0
    assert read == [(str(path),)]
