"""What is written in one format and read again says the same, as far as the format holds it."""

import itertools
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from casvit_mm.datasets.formats.outlines import (
    box_fields,
    decode_segmentation,
    mask_fields,
    polygon_fields,
)
from casvit_mm.datasets.writers.base import ImageLabels, LabelledSet
from casvit_mm.datasets.writers.registry import WRITERS, write_set
from casvit_mm.detection.data.convert import labelled_set

WIDTH, HEIGHT = 90, 60
NAMES = ('leaf', 'red fox')
PAIRS = [f'{one} {other}' for one, other in itertools.product(WRITERS, repeat=2)]


def coordinates(side):
    return st.floats(0, side, width=32) | st.integers(0, side).map(float)


@st.composite
def boxes(draw):
    x1, x2 = sorted((draw(coordinates(WIDTH)), draw(coordinates(WIDTH))))
    y1, y2 = sorted((draw(coordinates(HEIGHT)), draw(coordinates(HEIGHT))))
    x2, y2 = max(x2, min(x1 + 1, WIDTH)), max(y2, min(y1 + 1, HEIGHT))
    return box_fields(min(x1, x2 - 1), min(y1, y2 - 1), x2, y2)


@st.composite
def polygons(draw):
    """One to three polygons, each within a part of the image of its own."""
    parts = draw(st.integers(1, 3))
    found = []
    for part in range(parts):
        left, right = part * WIDTH // 3 + 1, (part + 1) * WIDTH // 3 - 1
        number = draw(st.integers(3, 7))
        shifts = draw(st.lists(st.floats(0, 0.8), min_size=number, max_size=number))
        turns = [2 * np.pi * (i + shift) / number for i, shift in enumerate(shifts)]
        radius = draw(st.floats(3, (right - left) / 2))
        centre = ((left + right) / 2, HEIGHT / 2)
        points = [
            (centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)) for turn in turns
        ]
        found.append([float(value) for point in points for value in point])
    return polygon_fields(found, WIDTH, HEIGHT)


@st.composite
def masks(draw):
    seed = draw(st.integers(0, 1000))
    random = np.random.default_rng(seed)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    x, y = random.integers(0, WIDTH - 20), random.integers(0, HEIGHT - 20)
    mask[y : y + 12, x : x + 15] = random.random((12, 15)) < draw(st.sampled_from([0.3, 0.7, 1]))
    mask[y, x : x + 3] = True
    return mask_fields(mask)


@st.composite
def objects(draw):
    fields = draw(boxes() | polygons() | masks())
    return dict(category_id=draw(st.sampled_from([1, 2])), iscrowd=0, **fields)


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('photos')
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        Image.fromarray(noise).save(folder / f'{i}.png')
    return folder


def make_set(photos, found):
    full = box_fields(0, 0, WIDTH, HEIGHT)
    every = [dict(category_id=i, iscrowd=0, **full) for i in (1, 2)]
    splits = {
        name: [ImageLabels(photos / f'{i}.png', f'sub/{i}.png', WIDTH, HEIGHT, [*every, *found])]
        for i, name in enumerate(('train', 'val'))
    }
    categories = [dict(id=i, name=name) for i, name in enumerate(NAMES, 1)]
    return LabelledSet('detection', categories, splits)


def masked(one):
    return decode_segmentation(one['segmentation'], WIDTH, HEIGHT)


def compare(old, new, formats):
    names = {name for name in formats if name != 'coco'}
    held = [WRITERS[name].held for name in formats]
    size = np.array([WIDTH, HEIGHT, WIDTH, HEIGHT])
    assert np.abs(np.subtract(old['bbox'], new['bbox']) / size).max() < 1e-6
    outline = old.get('segmentation')
    if not outline or not all('outlines' in one for one in held):
        assert 'segmentation' not in new
        return
    parts = not isinstance(outline, dict) and len(outline) > 1
    if isinstance(outline, dict) and 'yolo' in names:
        np.testing.assert_array_equal(masked(old), masked(new))
    elif isinstance(outline, dict):
        assert outline == new['segmentation']
    elif parts and not all('parts' in one for one in held):
        assert len(new['segmentation']) == 1
        different = masked(old) != masked(new)
        assert different.mean() < 0.01
    else:
        for polygon, other in zip(outline, new['segmentation'], strict=True):
            np.testing.assert_allclose(polygon, other, rtol=0, atol=tolerance(names))


def tolerance(names):
    """Return the pixels by which a coordinate may differ: shares and percents are rounded once."""
    return 1e-6 * HEIGHT if 'yolo' in names else 1e-12 if 'label-studio' in names else 0


@settings(
    deadline=None,
    max_examples=20,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(found=st.lists(objects(), min_size=1, max_size=4), pair=st.sampled_from(PAIRS))
def test_through_every_pair_of_formats(tmp_path, photos, found, pair):
    formats = pair.split()
    made = make_set(photos, found)
    wanted = [dict(one) for one in next(made.images()).objects]
    for i, name in enumerate(formats):
        shutil.rmtree(tmp_path / str(i), ignore_errors=True)
        made, _ = labelled_set(write_set(made, name, tmp_path / str(i)))
    assert [category['name'] for category in made.categories] == list(NAMES)
    assert {name: len(images) for name, images in made.splits.items()} == dict(train=1, val=1)
    for image in made.images():
        assert (image.width, image.height) == (WIDTH, HEIGHT)
        assert [one['category_id'] for one in image.objects] == [o['category_id'] for o in wanted]
        for old, new in zip(wanted, image.objects, strict=True):
            compare(old, new, formats)
