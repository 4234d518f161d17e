"""Where a detector errs, on scenes whose answer is known."""

import numpy as np
import pytest

pytest.importorskip('mmdet')
from detection_scenes import CAT, CATEGORIES, DOG, found, thing, truth
from pycocotools.cocoeval import COCOeval

from casvit_mm.detection.evaluation.analysis import (
    analyse,
    compare_image,
    confusion_matrix,
    summarise,
    worst_images,
)


def outcomes(objects, detections):
    return compare_image(1, objects, detections).outcomes


def test_confusion_matrix_of_three_objects_is_exact():
    objects = [thing(CAT, 0), thing(CAT, 20), thing(DOG, 40)]
    detections = [found(CAT, 0, 0.9), found(DOG, 20, 0.8), found(DOG, 80, 0.7)]
    matrix = confusion_matrix(analyse(truth(objects), detections, CATEGORIES, threshold=0.5))
    # One cat found, one taken for a dog; the dog missed; a dog seen where none is.
    assert matrix.tolist() == [[1, 1, 0], [0, 0, 1], [0, 1, 0]]


def test_the_threshold_leaves_lower_scores_out():
    detections = [found(CAT, 0, 0.9), found(CAT, 50, 0.49)]
    matrix = confusion_matrix(analyse(truth([thing(CAT, 0)]), detections, CATEGORIES, 0.5))
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_an_object_in_the_wrong_place_is_one_error():
    comparison = compare_image(1, [thing(CAT, 0)], [found(CAT, 6, 0.9)])  # IoU 4/16
    assert comparison.errors == {'poor box': 1}


def test_further_detections_of_a_found_object_are_duplicates():
    detections = [found(CAT, 0, 0.9), found(CAT, 1, 0.8), found(CAT, 6, 0.7)]
    assert outcomes([thing(CAT, 0)], detections) == ['correct', 'duplicate', 'duplicate']


def test_the_right_class_is_paired_before_a_wrong_one_with_a_higher_score():
    detections = [found(DOG, 0, 0.9), found(CAT, 1, 0.8)]
    assert outcomes([thing(CAT, 0)], detections) == ['background', 'correct']


def test_a_crowd_is_neither_missed_nor_a_false_alarm_for_its_own_class():
    crowd = thing(CAT, 50, width=40, crowd=1)
    inside = [found(CAT, 50, 0.9), found(CAT, 70, 0.8)]
    comparison = compare_image(1, [thing(DOG, 0), crowd], [*inside, found(DOG, 60, 0.7)])
    assert comparison.outcomes == ['background']
    assert comparison.errors == {'background': 1, 'missed': 1}


def test_an_annotation_without_id_or_with_id_zero_is_counted():
    objects = [dict(thing(CAT, 0), id=0)]
    assert outcomes(objects, [found(CAT, 0, 0.9)]) == ['correct']


def test_an_empty_image_has_no_error():
    comparison = compare_image(1, [], [])
    assert comparison.f1 == 1
    assert not comparison.errors


def test_the_threshold_is_the_one_with_the_best_f1():
    objects = [thing(CAT, x) for x in (0, 20, 40)]
    detections = [
        found(CAT, 0, 0.9),
        found(CAT, 20, 0.6),  # best here: F1 2 * 2 / (3 + 2)
        found(CAT, 60, 0.5),
        found(CAT, 70, 0.5),
        found(CAT, 40, 0.4),  # 2 * 3 / (3 + 5) = 0.75
    ]
    analysis = analyse(truth(objects), detections, CATEGORIES)
    assert analysis.threshold == 0.6
    assert summarise(analysis)['f1'] == pytest.approx(0.8)


def test_equal_scores_stand_or_fall_together():
    detections = [
        found(CAT, 0, 0.9),
        *(found(CAT, x, 0.9) for x in (20, 30, 40)),
        found(CAT, 50, 0.5),
    ]
    analysis = analyse(truth([thing(CAT, 0), thing(CAT, 50)]), detections, CATEGORIES)
    # Cutting right behind the first would have the best F1, but no threshold does that.
    assert analysis.threshold == 0.5


def test_no_detection_at_all_is_all_missed():
    summary = summarise(analyse(truth([thing(CAT, 0), thing(DOG, 9)]), [], CATEGORIES))
    assert summary['errors']['missed'] == 2
    assert summary['recall'] == 0
    assert np.isnan(summary['precision'])
    assert summary['remarks'][0] == 'Main error: missed, 2 of 2.'


def test_classes_not_asked_for_are_left_out():
    analysis = analyse(truth([thing(CAT, 0), thing(DOG, 20)]), [found(DOG, 50, 0.9)], {CAT: 'cat'})
    assert confusion_matrix(analysis).tolist() == [[0, 1], [0, 0]]


def test_the_image_with_the_most_errors_is_the_worst():
    annotations = [
        thing(CAT, 0, image_id=1),
        *(thing(CAT, x, image_id=2) for x in (0, 20, 40)),
        *(thing(CAT, x, image_id=3) for x in (0, 20)),
        thing(CAT, 0, image_id=4),
    ]
    detections = [found(CAT, 0, 0.9, image_id=i) for i in (2, 4)]
    worst = worst_images(analyse(truth(annotations, (1, 2, 3, 4)), detections, CATEGORIES), 5)
    # 2 and 3 have two errors each; in 3 nothing is right.
    assert [image.image_id for image in worst] == [3, 2, 1]


@pytest.fixture(scope='module')
def random_scene():
    """A ground truth of 30 images with crowds, and detections good and bad."""
    rng = np.random.default_rng(0)
    annotations, detections = [], []
    for image_id in range(30):
        for _ in range(int(rng.integers(0, 9))):
            category_id = int(rng.choice([CAT, DOG]))
            box = [*rng.uniform(0, 60, 2), *rng.uniform(10, 40, 2)]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=category_id,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=int(rng.random() < 0.15),
                )
            )
            for _ in range(int(rng.integers(0, 4))):
                detections.append(
                    dict(
                        image_id=image_id,
                        category_id=category_id if rng.random() < 0.8 else CAT + DOG - category_id,
                        bbox=[v + rng.normal(0, 4) for v in box],
                        score=float(rng.random()),
                    )
                )
    return truth(annotations, range(30)), detections


def test_true_positives_and_false_alarms_equal_pycocotools(random_scene):
    from pycocotools.coco import COCO

    ground_truth, detections = random_scene
    matrix = confusion_matrix(analyse(ground_truth, detections, CATEGORIES, threshold=0.3))
    coco = COCO()
    coco.dataset = ground_truth
    coco.createIndex()
    kept = coco.loadRes([dict(d) for d in detections if d['score'] >= 0.3])
    evaluator = COCOeval(coco, kept, 'bbox')
    evaluator.params.iouThrs = np.array([0.5])
    evaluator.params.areaRng = [[0, 1e10]]
    evaluator.evaluate()
    correct = dict.fromkeys(CATEGORIES, 0)
    counted = dict.fromkeys(CATEGORIES, 0)
    for result in filter(None, evaluator.evalImgs):
        matches, ignored = result['dtMatches'][0], result['dtIgnore'][0]
        correct[result['category_id']] += int(((matches > 0) & ~ignored).sum())
        counted[result['category_id']] += int((~ignored).sum())
    assert sum(ground['iscrowd'] for ground in ground_truth['annotations']) > 5
    assert matrix.diagonal()[:-1].tolist() == list(correct.values())
    assert matrix.sum(0)[:-1].tolist() == list(counted.values())


def test_every_object_and_every_detection_is_accounted_for_once(random_scene):
    ground_truth, detections = random_scene
    analysis = analyse(ground_truth, detections, CATEGORIES, threshold=0.3)
    paired = {'correct', 'wrong class', 'poor box'}
    for image in analysis.images:
        pairs = sum(outcome in paired for outcome in image.outcomes)
        assert len(image.objects) == pairs + len(image.missed)
        assert len(image.detections) == image.outcomes.count('correct') + sum(
            n for kind, n in image.errors.items() if kind != 'missed'
        )
        taken = [partner for partner in image.partners if partner >= 0]
        assert len(taken) == len(set(taken)) == pairs
