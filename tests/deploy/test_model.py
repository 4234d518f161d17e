"""A model as a function of images: what it takes, and that batches change nothing."""

import cv2
import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.deploy import Classification
from casvit_mm.deploy.images import read_image
from casvit_mm.deploy.model import ImageModel, read_pixels


class MeanColour(ImageModel):
    """Says how bright an image is, and remembers its batches."""

    task, classes, device = 'classification', ('dark', 'bright'), 'cpu'

    def __init__(self):
        self.batches = []

    def _prepare_pixels(self, pixels):
        return pixels.mean() / 255, pixels.shape

    def predict(self, batch):
        self.batches.append(len(batch))
        scores = [np.array(sorted([p.data, 1 - p.data], reverse=True)) for p in batch]
        labels = [np.argsort([p.data - 1, -p.data], kind='stable') for p in batch]
        return [
            Classification(s, k, tuple(self.classes[i] for i in k), source=p.source)
            for s, k, p in zip(scores, labels, batch)
        ]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / 'photo.png'
    rng = np.random.default_rng(0)
    cv2.imwrite(str(path), rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    return path


def test_a_path_pillow_and_an_array_are_the_same_image(photo):
    pixels = read_image(photo)
    for image in (photo, str(photo), Image.open(photo), pixels):
        np.testing.assert_array_equal(read_pixels(image), pixels)


def test_pillow_images_are_read_as_files_are(photo, tmp_path):
    image = Image.open(photo)
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    image.save(tmp_path / 'turned.png', exif=exif)
    cv2.imwrite(str(tmp_path / 'deep.png'), (np.arange(600, dtype=np.uint16) * 99).reshape(20, 30))
    image.convert('RGBA').save(tmp_path / 'alpha.png')
    image.convert('P').save(tmp_path / 'palette.png')
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_pixels(Image.open(path)), read_image(path))


def test_what_is_no_image_is_refused():
    with pytest.raises(InputError, match='a path, an image of Pillow or a NumPy array, got int'):
        MeanColour()(3)


def test_neighbours_of_one_size_are_batched_and_the_order_is_kept():
    model = MeanColour()
    images = [np.full((4, 4 + (i == 3), 3), 40 * i, np.uint8) for i in range(6)]
    together = model(images, batch_size=2)
    assert model.batches == [2, 1, 1, 2]
    assert [r.scores.tolist() for r in together] == [model(i).scores.tolist() for i in images]


def test_a_video_gives_its_frames_one_by_one(tmp_path):
    path = str(tmp_path / 'clip.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
    for i in range(5):
        writer.write(np.full((48, 64, 3), 50 * i, np.uint8))
    writer.release()
    model = MeanColour()
    found = list(model(path))
    assert [r.frame for r in found] == [0, 1, 2, 3, 4]
    assert found[2].time == pytest.approx(0.2)
    assert [r.names[0] for r in found] == ['dark', 'dark', 'dark', 'bright', 'bright']
    assert [r.frame for r in model.frames(path, every=2, batch_size=3)] == [0, 2, 4]
    assert model.batches[-1] == 3
