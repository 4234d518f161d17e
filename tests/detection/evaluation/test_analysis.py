"""Where a detector errs, on scenes whose answer is known."""

import json

import numpy as np
import pytest
import torch
from helpers import ROOT

pytest.importorskip('mmdet')
from matplotlib.image import imread
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image
from pycocotools.cocoeval import COCOeval

from casvit_mm import InputError
from casvit_mm.detection.evaluation.analysis import (
    analyse,
    compare_image,
    confusion_matrix,
    summarise,
    worst_images,
)
from casvit_mm.detection.evaluation.pictures import draw_curves, write_analysis
from casvit_mm.engine import evaluate, evaluation
from casvit_mm.plotting.confusion import draw_confusion_matrix

CAT, DOG = 7, 3
CATEGORIES = {CAT: 'cat', DOG: 'dog'}  # ids in another order than the classes


def thing(category_id, x, width=10, image_id=1, crowd=0):
    """An object of height 10 at the top of the image."""
    return dict(image_id=image_id, category_id=category_id, bbox=[x, 0, width, 10], iscrowd=crowd)


def found(category_id, x, score, width=10, image_id=1):
    return dict(thing(category_id, x, width, image_id), score=score)


def outcomes(objects, detections):
    return compare_image(1, objects, detections).outcomes


def truth(annotations, images=(1,)):
    return dict(
        images=[dict(id=i, file_name=f'{i}.png', width=100, height=60) for i in images],
        annotations=annotations,
        categories=[dict(id=i, name=name) for i, name in CATEGORIES.items()],
    )


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


@pytest.fixture
def pictures(tmp_path):
    for i in (1, 2):
        Image.new('RGB', (100, 60), 'grey').save(tmp_path / f'{i}.png')
    return tmp_path


def write(folder, pictures, objects, detections):
    curves = {'bbox': np.linspace(1, 0, 101)[None, :, None].repeat(10, 0).repeat(2, 2)}
    ground_truth = truth(objects, (1, 2))
    write_analysis(
        folder, analyse(ground_truth, detections, CATEGORIES), ground_truth, curves, pictures
    )


def test_an_analysis_writes_figures_and_pictures(pictures, tmp_path):
    crowd = thing(CAT, 60, 30, crowd=1)
    objects = [thing(CAT, 0), thing(DOG, 30), crowd, thing(CAT, 0, image_id=2)]
    folder = tmp_path / 'new/errors'
    write(folder, pictures, objects, [found(CAT, 30, 0.9), found(CAT, 0, 0.8, 10, 2)])
    assert sorted(path.name for path in folder.iterdir()) == [
        'analysis.json',
        'confusion_matrix.png',
        'precision_recall_box.png',
        'worst_01.png',
    ]
    content = json.loads((folder / 'analysis.json').read_text())
    assert content['confusion_matrix']['counts'] == [[1, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert content['classes']['dog']['precision'] is None  # never found; JSON has no NaN
    assert [image['file_name'] for image in content['worst_images']] == ['1.png']
    assert imread(folder / 'worst_01.png').ndim == 3


def test_a_second_analysis_leaves_no_picture_of_the_first(pictures, tmp_path):
    write(tmp_path / 'errors', pictures, [thing(CAT, 0), thing(CAT, 0, image_id=2)], [])
    assert len(list((tmp_path / 'errors').glob('worst*'))) == 2
    write(tmp_path / 'errors', pictures, [thing(CAT, 0)], [])
    assert [p.name for p in (tmp_path / 'errors').glob('worst*')] == ['worst_01.png']


def test_an_image_that_has_gone_is_named(pictures, tmp_path):
    (pictures / '1.png').unlink()
    with pytest.raises(InputError, match=r'1\.png cannot be read'):
        write(tmp_path / 'errors', pictures, [thing(CAT, 0)], [])


@pytest.mark.parametrize('number', [1, 3, 300])
def test_pictures_of_any_number_of_classes_can_be_drawn(number, tmp_path):
    names = [f'class {i}' for i in range(number)]
    curves = np.random.default_rng(0).random((10, 101, number))
    curves[..., 0] = -1  # no ground truth
    draw_curves(curves, names, tmp_path / 'c.png', 'title')
    matrix = np.eye(number + 1, dtype=int) * 12345
    draw_confusion_matrix(matrix, names, tmp_path / 'm.png', 'title')
    assert max(imread(tmp_path / 'm.png').shape) < 4000


CONFIG = str(ROOT / 'configs/maskrcnn_casvit_xs_shapes.py')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """An untrained Mask R-CNN for the shapes, which detects something everywhere."""
    cfg = Config.fromfile(CONFIG)
    for head in (cfg.model.roi_head.bbox_head, cfg.model.roi_head.mask_head):
        head.num_classes = 3
    cfg.model.backbone.init_cfg = None
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('untrained') / 'c.pth'
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


@pytest.fixture
def untrained(checkpoint, shapes, tmp_path):
    """Arguments of an evaluation of the shapes in this process."""
    options = {
        f'{split}_dataloader.{key}': value
        for split in ('val', 'test')
        for key, value in dict(num_workers=0, persistent_workers=False).items()
    }
    return dict(
        config=CONFIG,
        checkpoint=checkpoint,
        data=str(shapes),
        work_dir=str(tmp_path / 'work'),
        cfg_options=options,
    )


def test_an_evaluation_writes_everything_it_is_asked_for(untrained, tmp_path, capsys):
    figures = evaluate(
        **untrained,
        out=str(tmp_path / 'f.json'),
        out_pred=str(tmp_path / 'p.json'),
        analysis=str(tmp_path / 'errors'),
    )
    written = json.loads((tmp_path / 'f.json').read_text())
    assert set(figures) < set(written)
    assert {'coco/bbox_AP_s/circle', 'coco/segm_AR@100/square', 'coco/objects/circle'} <= set(
        written
    )
    boxes = json.loads((tmp_path / 'p.json').read_text())
    masks = json.loads((tmp_path / 'p.segm.json').read_text())
    assert len(boxes) == len(masks) > 0
    assert {box['category_id'] for box in boxes} <= {1, 2, 3}
    pictures = {path.name for path in (tmp_path / 'errors').glob('*.png')}
    assert {'precision_recall_mask.png', 'confusion_matrix.png', 'worst_01.png'} <= pictures
    assert 'Main error: ' in capsys.readouterr().out


def test_a_full_disk_costs_neither_the_figures_nor_the_other_results(untrained, tmp_path, capsys):
    (tmp_path / 'f.json.part').symlink_to('/dev/full')
    with pytest.raises(InputError, match=r'f\.json: No space left on device'):
        evaluate(**untrained, out=str(tmp_path / 'f.json'), out_pred=str(tmp_path / 'p.json'))
    assert 'box, per class' in capsys.readouterr().out
    assert json.loads((tmp_path / 'p.json').read_text())


@pytest.mark.parametrize('option', ['out', 'out_pred', 'analysis', 'show_dir'])
def test_a_place_that_cannot_be_written_ends_before_the_evaluation(
    untrained, option, tmp_path, monkeypatch
):
    monkeypatch.setattr(evaluation, 'build_runner', lambda *_: pytest.fail('it started'))
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match=f'--{option.replace("_", "-")} .* cannot be written'):
        evaluate(**untrained, **{option: str(tmp_path / 'file/x')})


def test_predictions_of_another_metric_are_refused(untrained, tmp_path):
    untrained['cfg_options'] |= {'test_evaluator.type': 'CocoMetric'}
    with pytest.raises(InputError, match=r"need test_evaluator\.type=CocoAP; .* has 'CocoMetric'"):
        evaluate(**untrained, out_pred=str(tmp_path / 'p.json'))
