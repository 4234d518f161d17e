"""A metric that does not exist is refused before anything is trained or predicted."""

import pytest
from mmengine.config import Config

pytest.importorskip('mmdet')
import casvit_mm.classification.task as classification
import casvit_mm.detection.task as detection
import casvit_mm.segmentation.task as segmentation
from casvit_mm import InputError
from casvit_mm.engine.metric_checks import check_metrics

AP = dict(type='CocoAP', ann_file='x.json', metric=['bbox', 'segm'])
ACCURACY = dict(type='ClassificationAccuracy', topk=(1, 3))


def config(evaluator, save_best=None, scope='mmdet', **more):
    hook = dict(type='CheckpointHook', save_best=save_best)
    return Config(
        dict(
            default_scope=scope,
            model=dict(type='MaskRCNN', roi_head=dict(mask_head=dict(type='FCNMaskHead'))),
            val_evaluator=evaluator,
            test_evaluator=evaluator,
            default_hooks=dict(checkpoint=hook),
            **more,
        )
    )


@pytest.mark.parametrize(
    ('task', 'evaluator', 'watched'),
    [
        (detection, AP, 'coco/segm_mAP'),
        (detection, AP, 'coco/bbox_AP/a [class]'),
        (detection, [dict(type='DumpDetResults', out_file_path='r.pkl'), AP], 'coco/bbox_AR@100'),
        (detection, AP, ['coco/bbox_mAP_50_maxDets300', 'coco/segm_mAP_s']),
        (detection, AP, 'auto'),
        (detection, AP, None),
        (detection, None, 'coco/nothing'),  # without validation nothing is watched
        (detection, dict(type='CocoMetric', classwise=True), 'coco/circle_precision'),
        (detection, [AP, dict(type='LVISMetric')], 'lvis/bbox_AP'),  # its names are not known
        (segmentation, dict(type='SegmentationIoU'), 'mIoU'),
        (segmentation, dict(type='IoUMetric', iou_metrics=['mFscore'], prefix='a'), 'a/mRecall'),
        (classification, ACCURACY, 'accuracy/top3'),
        (classification, dict(type='Accuracy', topk=5), 'accuracy/top5'),
    ],
)
def test_a_metric_that_is_reported_may_be_watched(task, evaluator, watched):
    check_metrics(config(evaluator, watched), task, 'val')


@pytest.mark.parametrize(
    ('task', 'evaluator', 'watched', 'near'),
    [
        (detection, AP, 'bbox_mAP', 'coco/bbox_mAP'),
        (detection, dict(AP, metric='bbox'), 'coco/segm_mAP', 'coco/bbox_mAP'),
        (detection, dict(type='CocoMetric'), ['coco/bbox_mAP', 'coco/bbox_AP'], 'coco/bbox_mAP'),
        (segmentation, dict(type='SegmentationIoU'), 'mIou', 'mIoU'),
        (classification, ACCURACY, 'accuracy/top5', 'accuracy/top3'),
        (classification, dict(type='Accuracy'), 'top1', 'accuracy/top1'),
    ],
)
def test_a_metric_that_is_watched_and_not_reported_is_named(task, evaluator, watched, near):
    cfg = config(evaluator, watched)
    message = rf"default_hooks\.checkpoint\.save_best is '.*did you mean '{near}'\? It reports "
    with pytest.raises(InputError, match=message):
        check_metrics(cfg, task, 'val')
    check_metrics(cfg, task, 'test')  # an evaluation watches nothing


@pytest.mark.parametrize(
    'more',
    [
        dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='mIoU')]),
        dict(param_scheduler=dict(type='ReduceOnPlateauLR', monitor='mIoU')),
    ],
)
def test_hooks_and_schedulers_that_watch_a_metric_are_checked(more):
    with pytest.raises(InputError, match=r"\.0\.monitor is 'mIoU', which val_evaluator does not"):
        check_metrics(config(AP, **more), detection, 'val')


@pytest.mark.parametrize(
    ('task', 'evaluator', 'message'),
    [
        (detection, dict(AP, metric='bboxes'), "CocoAP has no metric 'bboxes'; it has bbox, segm"),
        (detection, dict(AP, metric=['bbox', 'proposal']), "CocoAP has no metric 'proposal'"),
        (detection, dict(type='CocoMetric', metric='mAP'), "CocoMetric has no metric 'mAP'"),
        (segmentation, dict(type='IoUMetric', iou_metrics=['IoU']), "no metric 'IoU'; it has mIoU"),
    ],
)
@pytest.mark.parametrize('split', ['val', 'test'])
def test_what_a_metric_does_not_have_is_refused(task, evaluator, message, split):
    with pytest.raises(InputError, match=message):
        check_metrics(config(evaluator), task, split)


def test_masks_of_a_model_without_masks_are_refused():
    cfg = config(AP)
    cfg.model = dict(type='RetinaNet', bbox_head=dict(type='RetinaHead'))
    with pytest.raises(InputError, match="metric='segm', and RetinaNet predicts no masks"):
        check_metrics(cfg, detection, 'test')
