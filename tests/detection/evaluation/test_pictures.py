"""Pictures of a detector's errors."""

import json

import numpy as np
import pytest

pytest.importorskip('mmdet')
from detection_scenes import CAT, CATEGORIES, DOG, found, thing, truth
from matplotlib.image import imread
from PIL import Image

from casvit_mm import InputError
from casvit_mm.detection.evaluation.analysis import (
    analyse,
)
from casvit_mm.detection.evaluation.pictures import draw_curves, write_analysis


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


def test_an_analysis_writes_metrics_and_pictures(pictures, tmp_path):
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
def test_curves_of_any_number_of_classes_can_be_drawn(number, tmp_path):
    names = [f'class {i}' for i in range(number)]
    curves = np.random.default_rng(0).random((10, 101, number))
    curves[..., 0] = -1  # no ground truth
    draw_curves(curves, names, tmp_path / 'c.png', 'title')
    assert max(imread(tmp_path / 'c.png').shape) < 4000
