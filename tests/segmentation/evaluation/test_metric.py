"""Segmentation metrics, counted exactly, and masks that others can check."""

import math

import numpy as np
import pytest
from metric_samples import LABELS as CLASSES
from metric_samples import labelled as sample
from metric_samples import random_labelled as random_samples
from PIL import Image

pytest.importorskip('mmseg')
from metric_samples import evaluated_labelled as evaluated

from casvit_mm import InputError
from casvit_mm.segmentation import SegmentationIoU


def maps(samples):
    """Truth and prediction of all samples, without ignored pixels."""
    pairs = [
        [s[key]['data'].numpy().ravel() for key in ('gt_sem_seg', 'pred_sem_seg')] for s in samples
    ]
    truth, prediction = (np.concatenate(part).astype(int) for part in zip(*pairs))
    return truth[truth != 255], prediction[truth != 255]


def test_metrics_equal_those_of_mmseg_up_to_its_rounding():
    from mmseg.evaluation import IoUMetric

    reference = IoUMetric(iou_metrics=['mIoU'])
    reference.dataset_meta = dict(classes=CLASSES)
    samples = random_samples()
    reference.process(None, samples)
    expected = reference.evaluate(len(samples))
    _, metrics = evaluated(samples)
    assert set(metrics) == set(expected) == {'mIoU', 'mAcc', 'aAcc'}
    for name, value in expected.items():
        assert 100 * metrics[name] == pytest.approx(value, abs=0.005 + 1e-4)


def test_metrics_of_each_class_equal_those_counted_from_sets_of_pixels():
    samples = random_samples()
    metric, metrics = evaluated(samples)
    truth, prediction = maps(samples)
    ious, accuracies = [], []
    for k, name in enumerate(CLASSES):
        both = int(((truth == k) & (prediction == k)).sum())
        either = int(((truth == k) | (prediction == k)).sum())
        there = int((truth == k).sum())
        ious.append(both / either if either else math.nan)
        accuracies.append(both / there if there else math.nan)
        assert metric.details[f'IoU/{name}'] == pytest.approx(ious[-1], abs=0, nan_ok=True)
        assert metric.details[f'Acc/{name}'] == pytest.approx(accuracies[-1], abs=0, nan_ok=True)
        assert metric.details[f'pixels/{name}'] == there
    assert metrics['mIoU'] == pytest.approx(np.nanmean(ious), rel=1e-15)
    assert metrics['mAcc'] == pytest.approx(np.nanmean(accuracies), rel=1e-15)
    assert metrics['aAcc'] == (truth == prediction).mean()


def test_the_confusion_matrix_has_the_truth_in_its_rows():
    samples = random_samples()
    metric, _ = evaluated(samples)
    expected = np.zeros((5, 5), int)
    np.add.at(expected, maps(samples), 1)
    assert metric.confusion_matrix.dtype == np.int64
    np.testing.assert_array_equal(metric.confusion_matrix, expected)
    assert (expected != expected.T).any()


def test_a_class_that_only_the_prediction_has_lowers_miou_but_not_macc():
    metric, metrics = evaluated([sample([[0, 0, 0, 0]], [[0, 0, 0, 3]])])
    assert metrics == dict(mIoU=(0.75 + 0) / 2, mAcc=0.75, aAcc=0.75)
    assert math.isnan(metric.details['Acc/sign'])
    assert math.isnan(metric.details['IoU/never'])


def test_nothing_but_ignored_pixels_gives_nan():
    _, metrics = evaluated([sample([[255, 255]], [[0, 1]])])
    assert all(map(math.isnan, metrics.values()))


def test_counts_beyond_single_precision_stay_exact():
    # 2**24 + 1 has no float32: mmseg's sum would lose the single pixel of the second image.
    wide = np.zeros((1, 2**24), np.uint8)
    metric, _ = evaluated([sample(wide, wide), sample([[0]], [[0]])])
    assert metric.details['pixels/road'] == 2**24 + 1


def test_images_that_pad_the_last_batch_are_counted_once():
    samples = random_samples(3)
    metric = SegmentationIoU()
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process(None, [*samples, samples[0]])
    metric.evaluate(3)
    assert metric.confusion_matrix.sum() == len(maps(samples)[0])


@pytest.mark.parametrize(
    ('truth', 'prediction', 'message'),
    [
        ([[0, 9]], [[0, 0]], r'a\.png: the truth has pixels of class 9, .* only 5 classes'),
        ([[0, 0]], [[0, 7]], r'a\.png: the prediction has pixels of class 7'),
        ([[0, 0, 0]], [[0, 0]], r'a\.png: the truth has 3x1 pixels, the image 2x1'),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_their_file(truth, prediction, message):
    with pytest.raises(InputError, match=message):
        evaluated([sample(truth, prediction, seg_map_path='labels/a.png')])


def test_of_many_labels_that_do_not_fit_five_are_named():
    samples = [sample([[9]], [[0]], seg_map_path=f'{i}.png') for i in range(8)]
    with pytest.raises(InputError, match='and 3 more') as caught:
        evaluated(samples)
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize('reduce_zero_label', [False, True])
def test_a_third_party_recomputes_miou_from_the_masks(tmp_path, reduce_zero_label):
    labels, found = tmp_path / 'labels', tmp_path / 'found'
    samples = random_samples()
    for s in samples:
        s['reduce_zero_label'] = reduce_zero_label
        truth = s['gt_sem_seg']['data'][0].numpy()
        ignored = 0 if reduce_zero_label else 255
        values = np.where(truth == 255, ignored, truth + reduce_zero_label).astype(np.uint8)
        labels.mkdir(exist_ok=True)
        Image.fromarray(values).save(labels / s['img_path'].split('/')[1].replace('jpg', 'png'))
    metric, metrics = evaluated(samples, out_dir=str(found), root='images')
    metric.check_written()

    counts = np.zeros(256 * 256, int)
    for file in labels.rglob('*.png'):
        pair = [Image.open(path) for path in (file, found / file.relative_to(labels))]
        assert pair[1].mode == 'L'
        truth, prediction = (np.asarray(image).astype(int).ravel() for image in pair)
        counts += np.bincount(256 * truth + prediction, minlength=256 * 256)
    counts = counts.reshape(256, 256)
    counts[[0, 255] if reduce_zero_label else [255]] = 0
    union = counts.sum(0) + counts.sum(1) - counts.diagonal()
    iou = counts.diagonal()[union > 0] / union[union > 0]
    assert iou.mean() == pytest.approx(metrics['mIoU'], rel=1e-12)


def test_masks_of_chosen_classes_have_the_numbers_of_the_label_files(tmp_path):
    evaluated(
        [sample([[0, 1]], [[1, 0]], reduce_zero_label=True)],
        classes=('car', 'road'),
        meta=dict(label_map={0: 1, 1: 255, 2: 0}),
        out_dir=str(tmp_path),
    )
    assert np.asarray(Image.open(tmp_path / 'a.png')).tolist() == [[1, 3]]


def test_equal_names_in_two_folders_give_two_masks(tmp_path):
    paths = [tmp_path / 'images' / part for part in ('day/1.jpg', 'night/1.jpg')]
    samples = [sample([[k]], [[k]], str(path)) for k, path in enumerate(paths)]
    out = tmp_path / 'out'
    metric, _ = evaluated(samples, out_dir=str(out), root=str(tmp_path / 'images'))
    metric.check_written()
    assert np.asarray(Image.open(out / 'day/1.png')).tolist() == [[0]]
    assert np.asarray(Image.open(out / 'night/1.png')).tolist() == [[1]]


def test_images_whose_masks_would_replace_each_other_are_named(tmp_path):
    samples = [sample([[0]], [[0]], f'{part}/1.jpg') for part in ('day', 'night')]
    metric, _ = evaluated(samples, out_dir=str(tmp_path))
    with pytest.raises(InputError, match=r'day/1\.jpg and night/1\.jpg would both be written'):
        metric.check_written()


def test_a_full_disk_costs_no_metrics_and_is_told_afterwards(tmp_path):
    out = tmp_path / 'out'
    out.mkdir()
    (out / '2.png.0.part').symlink_to('/dev/full')
    metric, metrics = evaluated(random_samples(), out_dir=str(out), root='images')
    assert metrics == evaluated(random_samples())[1]
    with pytest.raises(InputError, match=r'cannot write .*2\.png: No space left on device'):
        metric.check_written()
    assert sorted(path.name for path in out.iterdir()) == ['0.png', '1.png']


def test_more_classes_than_eight_bits_hold_are_refused(tmp_path):
    names = [str(i) for i in range(255)]
    evaluated([sample([[0]], [[254]])], names, out_dir=str(tmp_path))
    assert np.asarray(Image.open(tmp_path / 'a.png')).item() == 254
    with pytest.raises(InputError, match='255 classes with values up to 255'):
        evaluated([sample([[0]], [[0]], reduce_zero_label=True)], names, out_dir=str(tmp_path))


def without_truth(samples):
    return [{key: value for key, value in s.items() if key != 'gt_sem_seg'} for s in samples]


def test_masks_of_images_without_truth_are_written_and_nothing_is_computed(tmp_path):
    samples = without_truth(random_samples())
    metric, metrics = evaluated(samples, out_dir=str(tmp_path))
    assert metrics == metric.details == {}
    metric.check_written()
    written = np.asarray(Image.open(tmp_path / '3.png'))
    assert np.array_equal(written, samples[3]['pred_sem_seg']['data'].squeeze(0).numpy())


def test_images_without_truth_change_nothing_of_the_others(tmp_path):
    samples = random_samples()
    mixed = [*samples, *without_truth(samples[:2])]
    assert evaluated(mixed, out_dir=str(tmp_path))[1] == evaluated(samples)[1]


def test_without_truth_and_without_a_folder_for_masks_there_is_nothing_to_do():
    with pytest.raises(InputError, match='has no segmentation mask to compare with; --out-pred'):
        evaluated(without_truth(random_samples()))
