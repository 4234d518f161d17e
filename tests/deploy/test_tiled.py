"""A model that reads by tiles finds what it finds in the whole image, each object once."""

import cv2
import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.deploy import Detections
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.seams import join_objects
from casvit_mm.deploy.tiled import TiledModel
from casvit_mm.deploy.tiles import Place, Tiles

SIZE = (300, 400)


class Regions(ImageModel):
    """Finds each connected region of red (class 0) or blue pixels, cut or not."""

    task, classes, device, score_thr, max_dets = 'detection', ('red', 'blue'), 'cpu', 0.3, 100

    def __init__(self, masks=True):
        self.masks, self.batches = masks, []

    def _prepare_pixels(self, pixels):
        return pixels, pixels.shape

    def predict(self, batch):
        self.batches.append([one.pixels.shape[:2] for one in batch])
        return [self._find(one) for one in batch]

    def _find(self, image):
        boxes, labels, masks = [], [], []
        for label, channel in enumerate((2, 0)):
            grey = np.ascontiguousarray(image.pixels[..., channel])
            number, regions, stats, _ = cv2.connectedComponentsWithStats(grey)
            for i in range(1, number):
                x, y, w, h, _ = stats[i]
                boxes.append([x, y, x + w, y + h])
                labels.append(label)
                masks.append(regions == i)
        order = np.argsort([-m.sum() for m in masks], kind='stable')
        scores = np.array([m.sum() / (m.sum() + 50) for m in masks])
        size = image.pixels.shape[:2]
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4)[order],
            scores[order],
            np.array(labels, np.int64)[order],
            tuple(self.classes[labels[i]] for i in order),
            np.array(masks, bool).reshape(-1, *size)[order] if self.masks else None,
            classes=self.classes,
            size=size,
            source=image.source,
        )


@pytest.fixture
def image():
    """Discs of two classes: apart, at an edge, one inside another, and one larger than a tile."""
    pixels = np.zeros((*SIZE, 3), np.uint8)
    for (x, y), radius in {(64, 140): 12, (128, 64): 10, (398, 298): 8, (190, 250): 20}.items():
        cv2.circle(pixels, (x, y), radius, (0, 0, 255), -1)
    for (x, y), radius in {(64, 64): 30, (280, 150): 90}.items():
        cv2.circle(pixels, (x, y), radius, (255, 0, 0), -1)
        cv2.circle(pixels, (x + 8, y), 9, (255, 0, 255), -1)  # red inside blue
    return pixels


def in_order(result):
    order = np.lexsort(result.boxes.T)
    return result.boxes[order], result.labels[order], [result.masks[i] for i in order]


@pytest.mark.parametrize('overlap', [0.25, 0.4, 0.6])
def test_objects_are_those_of_the_whole_image(image, overlap):
    whole, tiles = Regions()(image), TiledModel(Regions(), Tiles(100, overlap))(image)
    assert tiles.masks.shape == whole.masks.shape
    for ours, theirs in zip(in_order(tiles), in_order(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (np.diff(tiles.scores) <= 0).all()
    assert (tiles.classes, tiles.size) == (whole.classes, whole.size)
    assert tiles.to_coco()['annotations'][0]['segmentation']['size'] == list(SIZE)
    assert tiles.draw().shape[1] == whole.draw().shape[1]


def test_boxes_need_no_masks(image):
    whole = Regions(masks=False)(image)
    tiles = TiledModel(Regions(masks=False), Tiles(100, 0.4))(image)
    assert tiles.masks is None
    np.testing.assert_array_equal(np.unique(tiles.boxes, axis=0), np.unique(whole.boxes, axis=0))
    assert len(tiles.boxes) == len(whole.boxes)


def test_an_image_within_a_tile_is_predicted_whole(image):
    inner = Regions()
    result = TiledModel(inner, Tiles(400, 0.5))(image)
    whole = Regions()(image)
    assert inner.batches == [[SIZE]]
    assert isinstance(result.masks, np.ndarray)
    np.testing.assert_array_equal(result.boxes, whole.boxes)
    np.testing.assert_array_equal(result.masks, whole.masks)


def test_tiles_go_through_the_model_together(image):
    inner = Regions()
    model = TiledModel(inner, Tiles(100, 0, at_once=5))
    model([image, image[:80, :90], image], batch_size=4)
    assert [len(batch) for batch in inner.batches] == [5, 5, 2, 1, 5, 5, 2]


def test_sources_are_kept(image, tmp_path):
    path = tmp_path / 'a.png'
    cv2.imwrite(str(path), image)
    model = TiledModel(Regions(), Tiles(100))
    assert model(path).source == path
    np.testing.assert_array_equal(model(Image.open(path)).boxes, model(path).boxes)
    written = model(path).save(tmp_path / 'out')
    assert [file.name for file in written] == ['a.png', 'a.json']


def test_nothing_found_is_no_object():
    result = TiledModel(Regions(), Tiles(100))(np.zeros((*SIZE, 3), np.uint8))
    assert result.boxes.shape == (0, 4)
    assert np.asarray(result.masks).shape == (0, *SIZE)
    assert result.rows() == []


def objects(*entries):
    boxes, scores, labels = zip(*entries, strict=True)
    names = tuple('ab'[label] for label in labels)
    return Detections(np.array(boxes, np.float32), np.array(scores), np.array(labels), names)


PLACES = [Place(0, 0, 100, 100), Place(0, 70, 100, 100)]  # they share columns 70 to 100


def join(first, second):
    return join_objects([objects(*first), objects(*second)], PLACES, (100, 170))


def test_a_whole_box_wins_over_a_part_that_scores_higher():
    joined = join([((80, 10, 100, 50), 0.9, 0)], [((80, 12, 130, 50), 0.6, 0)])
    assert joined.boxes.tolist() == [[80, 12, 130, 50]]
    assert joined.scores.tolist() == [0.9]


def test_parts_that_are_both_cut_become_the_box_around_them():
    joined = join([((20, 10, 100, 50), 0.5, 0)], [((70, 8, 150, 50), 0.7, 0)])
    assert joined.boxes.tolist() == [[20, 8, 150, 50]]


def test_other_classes_and_objects_of_one_tile_stay_apart():
    first = [((72, 10, 98, 50), 0.9, 0), ((72, 11, 98, 50), 0.8, 0)]
    assert len(join(first, [((72, 10, 98, 50), 0.7, 1)]).boxes) == 3
    # One of the first two is the object of the second tile; the other one has no partner left.
    joined = join(first, [((72, 10, 98, 50), 0.7, 0)])
    assert joined.scores.tolist() == [0.9, 0.8]


def test_an_object_inside_another_one_is_not_taken_for_a_part_of_it():
    joined = join([((75, 30, 85, 40), 0.9, 0)], [((70, 5, 165, 95), 0.8, 0)])
    assert len(joined.boxes) == 2


def test_a_classifier_has_no_tiles():
    class Classifier(Regions):
        task = 'classification'

    with pytest.raises(InputError, match='--tile is not for classification'):
        TiledModel(Classifier(), Tiles(100))
