"""Windows of a TIFF have the pixels that OpenCV reads; predictions are those of the whole image."""

import json

import cv2
import numpy as np
import pytest

from casvit_mm import InputError
from casvit_mm.deploy import Detections, Segmentation, read_image
from casvit_mm.deploy.model import ImageModel
from casvit_mm.deploy.tiled import TiledModel
from casvit_mm.deploy.tiles import Tiles
from casvit_mm.deploy.windows import open_windows
from casvit_mm.io import PIXEL_LIMIT

tifffile = pytest.importorskip('tifffile', reason="needs pip install 'casvit_mm[tiff]'")

HEIGHT, WIDTH = 120, 150
GREY16 = np.random.default_rng(0).integers(0, 2**16, (HEIGHT, WIDTH)).astype(np.uint16)
RGB16 = np.dstack([GREY16, GREY16 // 3, GREY16[::-1]])
RGB = (RGB16 >> 8).astype(np.uint8)
RGBA = np.dstack([RGB, RGB[..., 2]])
PALETTE = RGB16.reshape(-1, 3)[:256].T.copy()
TILED = dict(tile=(32, 32))  # OpenCV cannot read tiles 48 wide that the edge cuts
COLOUR = dict(photometric='rgb', **TILED)
KINDS = {
    'rgb': (RGB, COLOUR),
    'contiguous': (RGB, dict(photometric='rgb')),
    'contiguous 16 bit': (RGB16, dict(photometric='rgb', byteorder='>')),
    'strips': (RGB, dict(photometric='rgb', rowsperstrip=7, compression='zlib')),
    'bigtiff': (RGB, dict(bigtiff=True, compression='zlib', predictor=True, **COLOUR)),
    'big-endian 16 bit': (RGB16, dict(byteorder='>', compression='zlib', **COLOUR)),
    'planes': (RGB.transpose(2, 0, 1).copy(), dict(planarconfig='separate', **COLOUR)),
    'contiguous planes': (
        RGB.transpose(2, 0, 1).copy(),
        dict(planarconfig='separate', photometric='rgb'),
    ),
    'grey': (RGB[..., 0].copy(), dict(photometric='minisblack', **TILED)),
    'grey 16 bit': (GREY16, dict(photometric='minisblack', rowsperstrip=16)),
    'white is 0': (RGB[..., 0].copy(), dict(photometric='miniswhite', **TILED)),
    'palette': (RGB[..., 0].copy(), dict(photometric='palette', colormap=PALETTE, **TILED)),
    'alpha': (RGBA, dict(extrasamples=['unassalpha'], **COLOUR)),
    'alpha, multiplied': (RGBA, dict(extrasamples=['assocalpha'], **COLOUR)),
    'lzw': (RGB, dict(compression='lzw', predictor=True, **COLOUR)),
    'jpeg': (cv2.blur(RGB, (9, 9)), dict(compression='jpeg', **COLOUR)),
    'jpeg strips': (RGB, dict(compression='jpeg', photometric='rgb', rowsperstrip=16)),
}


@pytest.fixture
def limit(monkeypatch):
    """Sets the limit of what is read at once; OpenCV keeps the one that it was imported with."""
    return lambda pixels=8000: monkeypatch.setenv(PIXEL_LIMIT, str(pixels))


def write(path, pixels, **options):
    if options.get('compression') in ('lzw', 'jpeg'):
        pytest.importorskip('imagecodecs', reason="needs pip install 'casvit_mm[tiff]'")
    tifffile.imwrite(path, pixels, **options)
    return path


@pytest.mark.parametrize('kind', KINDS)
def test_pixels_are_those_of_the_reader(tmp_path, limit, kind):
    pixels, options = KINDS[kind]
    path = write(tmp_path / 'a.tif', pixels, **options)
    whole = read_image(path)
    assert open_windows(path) is None  # it can be read whole
    limit()
    image = open_windows(path)
    assert image.shape == whole.shape
    for top, bottom, left, right in [(0, 40, 0, 60), (30, 100, 47, 97), (31, 120, 90, 150)]:
        np.testing.assert_array_equal(image[top:bottom, left:right], whole[top:bottom, left:right])
    np.testing.assert_array_equal(image[:, :], whole)


def test_the_small_copy_is_made_of_means(tmp_path, limit):
    path = write(tmp_path / 'a.tif', RGB, **COLOUR)
    limit()
    small = open_windows(path).reduced(50)
    assert small.shape == (40, 50, 3)
    means = RGB[..., ::-1].reshape(40, 3, 50, 3, 3).mean((1, 3))
    np.testing.assert_allclose(small, means, atol=0.51)


@pytest.mark.parametrize(
    ('pixels', 'options', 'message'),
    [
        (RGB, dict(extratags=[(274, 3, 1, 6, True)], **COLOUR), 'an orientation of 6'),
        (RGBA, dict(photometric='separated', **TILED), 'colours of the kind SEPARATED'),
        (RGB[..., 0].astype(np.float32), TILED, '32 bits per channel'),
        (RGB, dict(photometric='rgb', rowsperstrip=HEIGHT, compression='zlib'), 'with tiles'),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path, limit, pixels, options, message):
    path = write(tmp_path / 'a.tif', pixels, **options)
    limit()
    with pytest.raises(InputError, match=message):
        open_windows(path)


def test_an_image_beyond_all_measure_is_refused(tmp_path, limit):
    path = write(tmp_path / 'a.tif', RGB, **COLOUR)
    limit(1000)
    with pytest.raises(InputError, match=r'150 x 120 pixels, cannot .* more than 16,000 pixels'):
        open_windows(path)


def test_damage_is_named(tmp_path, limit):
    path = write(tmp_path / 'a.tif', RGB, compression='zlib', **COLOUR)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].dataoffsets[5]  # the first of the second row of tiles
    content = bytearray(path.read_bytes())
    content[offset : offset + 20] = bytes(20)
    path.write_bytes(content)
    limit()
    image = open_windows(path)
    image[:32, :]
    with pytest.raises(InputError, match='cannot be decoded around row 32'):
        image[:40, :]
    path.write_bytes(content[:100])
    with pytest.raises(InputError, match=r'a\.tif'):
        TiledModel(Bright(), Tiles(64))(path)


class Bright(ImageModel):
    """Finds bright regions; as a segmentor, bright pixels."""

    classes, device, score_thr, max_dets, label_thr = ('dark', 'bright'), 'cpu', 0.3, None, None

    def __init__(self, task='detection'):
        self.task = task

    def _prepare_pixels(self, pixels):
        return pixels, pixels.shape

    def logits(self, batch):
        return [np.stack([255 - one.pixels[..., 0], one.pixels[..., 0]]) for one in batch]

    def predict(self, batch):
        return [self._find(one.pixels) for one in batch]

    def _find(self, pixels):
        if self.task == 'segmentation':
            labels = (pixels[..., 0] > 127).astype(np.uint8)
            return Segmentation(labels, classes=self.classes, size=labels.shape)
        number, regions, stats, _ = cv2.connectedComponentsWithStats(pixels[..., 0].copy())
        boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:]]
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.full(number - 1, 0.9, np.float32),
            np.ones(number - 1, np.int64),
            ('bright',) * (number - 1),
            np.array([regions == i for i in range(1, number)], bool).reshape(-1, *regions.shape),
            classes=self.classes,
        )


@pytest.fixture
def discs(tmp_path):
    pixels = np.zeros((300, 400, 3), np.uint8)
    for x, y in [(64, 64), (200, 130), (390, 290)]:
        cv2.circle(pixels, (x, y), 20, (255, 255, 255), -1)
    return write(tmp_path / 'discs.tif', pixels, compression='zlib', **COLOUR)


@pytest.mark.parametrize('task', ['detection', 'segmentation'])
def test_predictions_are_those_of_the_whole_image(discs, tmp_path, limit, monkeypatch, task):
    model = TiledModel(Bright(task), Tiles(100, 0.4))
    whole = model(discs)
    limit(60_000)
    monkeypatch.setattr('casvit_mm.deploy.base.PICTURE_SIDE', 200)
    windows = model(discs)
    assert windows.rows() == whole.rows()
    assert windows.size == (300, 400)
    picture, data = windows.save(tmp_path / 'out')
    assert cv2.imread(str(picture)).shape[1] == 800  # 200, enlarged as a small image
    if task == 'segmentation':
        np.testing.assert_array_equal(cv2.imread(str(data), -1), whole.labels)
        return
    assert json.loads(data.read_text())['annotations'] == whole.to_coco()['annotations']
    drawn = windows.draw()
    middle = drawn[4 * 65, 4 * 100]  # of a disc: its mask is painted there
    assert (middle != 255).any()
    assert (middle != 0).any()


def test_a_tile_keeps_the_limit(discs, limit):
    limit(60_000)
    with pytest.raises(InputError, match='--tile 300: a tile may have 60,000 pixels'):
        TiledModel(Bright(), Tiles(300))(discs)
