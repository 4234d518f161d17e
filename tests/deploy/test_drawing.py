"""Pictures of detections."""

import numpy as np

from casvit_mm.deploy.drawing import draw_objects

CLASSES = ('circle', 'square', 'triangle')


def draw(image, boxes, names, classes=CLASSES):
    """Draw boxes, each left, top, width and height."""
    boxes = np.array(boxes, float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return draw_objects(image, boxes, np.full(len(boxes), 0.9), names, None, classes)


def test_small_images_are_enlarged_and_frames_of_one_size_stay_so():
    image = np.zeros((48, 64, 3), np.uint8)
    empty = draw(image, [], ())
    full = draw(image, [(0, 0, 9, 9), (30, 30, 5, 5)], CLASSES[:2])
    assert empty.shape == full.shape
    assert empty.shape[1] == 640
    assert image.max() == 0


def test_labels_do_not_hide_small_neighbours():
    crowd = [(370 + 20 * i, 278 + 13 * j, 10, 10) for i in range(5) for j in range(5)]
    drawn = draw(np.zeros((600, 800, 3), np.uint8), crowd, CLASSES[:1] * 25)
    # Filled labels would paint the inside of the boxes; only their lines may.
    for x, y, w, h in crowd[6:9]:
        assert drawn[y + 3 : y + h - 3, x + 3 : x + w - 3].max() == 0


def test_every_class_has_a_colour_of_its_own():
    names = [str(i) for i in range(80)]
    corners = [(80 * (i % 10) + 5, 80 * (i // 10) + 25) for i in range(80)]
    boxes = [(x, y, 50, 40) for x, y in corners]
    drawn = draw(np.zeros((680, 800, 3), np.uint8), boxes, names, names)
    assert len({tuple(drawn[y + 20, x]) for x, y in corners} - {(0, 0, 0)}) == 80


def test_a_mask_is_painted_where_it_is():
    mask = np.zeros((1, 640, 640), bool)
    mask[0, 100:200, 300:400] = True
    box, score = np.array([[300, 100, 400, 200.0]]), np.array([0.9])
    drawn = draw_objects(np.zeros((640, 640, 3), np.uint8), box, score, CLASSES[:1], mask, CLASSES)
    assert drawn[150, 350].max() > 50
    assert drawn[250, 350].max() == 0


def test_lines_do_not_hide_small_objects():
    pixels = np.full((2000, 2000, 3), 255, np.uint8)
    boxes = np.array([[100, 100, 120, 120]], np.float32)
    drawn = draw_objects(pixels, boxes, np.array([0.9]), ['cell'], None, ['cell'])
    assert (drawn[105:116, 105:116] == 255).all()
