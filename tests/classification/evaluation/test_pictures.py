"""Pictures and analysis of a classifier's errors."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from metric_samples import MATERIALS as CLASSES
from metric_samples import classified as sample
from metric_samples import random_classified as random_samples
from PIL import Image

pytest.importorskip('mmpretrain')
from metric_samples import evaluated_classified as evaluated

from casvit_mm.classification.evaluation.analysis import worst_images
from casvit_mm.classification.evaluation.pictures import draw_worst, write_analysis


@pytest.fixture
def photographed(tmp_path):
    """An evaluation of images that are there."""
    rng = np.random.default_rng(1)
    samples = random_samples()
    for i, s in enumerate(samples):
        s['img_path'] = str(tmp_path / f'image number {i} of the set.jpg')
        Image.fromarray(rng.integers(0, 255, (48, 64, 3)).astype(np.uint8)).save(s['img_path'])
    metric, _ = evaluated(samples)
    return metric


def test_the_analysis_names_confusions_and_the_most_confidently_wrong(photographed, tmp_path):
    write_analysis(tmp_path / 'out', photographed)
    analysis = json.loads((tmp_path / 'out/analysis.json').read_text())
    counts = np.array(analysis['confusion_matrix']['counts'])
    wrong = counts - np.diag(counts.diagonal())
    first = re.match(r'(\w+) taken for (\w+): ([\d.]+)% of the images', analysis['remarks'][0])
    row, column = (CLASSES.index(name) for name in first.groups()[:2])
    assert wrong[row, column] == wrong.max()
    assert float(first[3]) == pytest.approx(100 * wrong.max() / counts[row].sum(), abs=0.05)
    worst = analysis['worst_images']
    scores = [entry['score'] for entry in worst]
    expected = [i.score for i in photographed.images if i.predicted != i.truth]
    assert scores == sorted(expected, reverse=True)[:12]
    assert all(entry['truth'] != entry['predicted'] for entry in worst)
    assert analysis['classes']['never']['recall'] is None
    assert min(Image.open(tmp_path / 'out/worst.png').size) > 800
    assert (tmp_path / 'out/confusion_matrix.png').exists()


def test_wrong_images_that_cannot_be_read_are_left_out_of_the_sheet(photographed, tmp_path):
    first, *others = worst_images(photographed, 12)
    for image in others:
        Path(image.path).write_text('no image')
    assert draw_worst(photographed, tmp_path / 'worst.png') == tmp_path / 'worst.png'
    assert Image.open(tmp_path / 'worst.png').width < 800
    Path(first.path).unlink()
    assert draw_worst(photographed, tmp_path / 'worst.png') is None


def test_where_nothing_is_wrong_an_old_sheet_of_wrong_images_goes(photographed, tmp_path):
    write_analysis(tmp_path / 'out', photographed)
    metric, _ = evaluated([sample([1, 0], 0), sample([0, 1], 1)], 'ab')
    assert write_analysis(tmp_path / 'out', metric)['remarks'] == ['No image is wrong.']
    assert not (tmp_path / 'out/worst.png').exists()
