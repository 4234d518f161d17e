"""Generated datasets are the same for the same seed."""

import json

import numpy as np
from PIL import Image

from casvit_mm.datasets.shapes import (
    CLASSES,
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)


def test_generated_shapes_are_the_same_for_the_same_seed_and_differ_between_splits(tmp_path):
    a = generate_shapes(tmp_path / 'a', sizes=(2, 2, 2), side=64, seed=5).parent
    b = generate_shapes(tmp_path / 'b', sizes=(2, 2, 2), side=64, seed=5).parent
    assert (a / 'train/0001.png').read_bytes() == (b / 'train/0001.png').read_bytes()
    assert (a / 'train/0001.png').read_bytes() != (a / 'test/0001.png').read_bytes()


def test_generated_masks_belong_to_the_generated_images(tmp_path):
    boxes = generate_shapes(tmp_path / 'boxes', sizes=(2, 2, 2), side=64, seed=5).parent
    labels = generate_shape_labels(tmp_path / 'labels', sizes=(2, 2, 2), side=64, seed=5).parent
    image = 'train/0001.png'
    assert (boxes / image).read_bytes() == (labels / image).read_bytes()
    content = json.loads((boxes / 'train.json').read_text())
    drawn = np.asarray(Image.open(labels / 'train_labels/0001.png'))
    for annotation in content['annotations']:
        if annotation['image_id'] == 1:
            x, y, w, h = annotation['bbox']
            centre = drawn[round(y + h / 2), round(x + w / 2)]
            assert centre == annotation['category_id']


def test_generated_classes_are_drawn_evenly_and_alike_for_one_seed(tmp_path):
    ours = generate_shape_classes(tmp_path / 'a', sizes=(7, 3, 3), side=32, seed=5).parent
    again = generate_shape_classes(tmp_path / 'b', sizes=(7, 3, 3), side=32, seed=5).parent
    images = sorted(path.relative_to(ours) for path in ours.rglob('*.png'))
    assert len(images) == 13
    assert [len(list((ours / 'train' / name).iterdir())) for name in CLASSES] == [3, 2, 2]
    assert all((ours / path).read_bytes() == (again / path).read_bytes() for path in images)
    assert len({(ours / path).read_bytes() for path in images}) == 13
