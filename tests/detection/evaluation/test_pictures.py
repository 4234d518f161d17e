"""Pictures of a detector's errors."""

import itertools
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
from casvit_mm.detection.evaluation.pictures import (
    _COLOURS,
    _STYLES,
    draw_curves,
    write_analysis,
)


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


# Machado et al. 2009, severity 1, on linear RGB.
EYES = {
    'all cones': np.eye(3),
    'no long': [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
    'no medium': [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    'no short': [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
}


def lab(colour, eyes):
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(eyes) @ linear, 0, 1)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x, y, z = np.cbrt(np.maximum(np.asarray(to_xyz) @ seen / [0.9505, 1, 1.089], 0.009))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize('eyes', EYES)
def test_kinds_of_errors_differ_to_all_eyes_in_colour_or_in_line(eyes):
    for one, other in itertools.combinations(_COLOURS, 2):
        colours = [lab(_COLOURS[kind], EYES[eyes]) for kind in (one, other)]
        far = np.linalg.norm(colours[0] - colours[1]) > 25
        assert far or _STYLES[one] != _STYLES[other], (one, other)
