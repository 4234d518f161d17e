"""Image files become the pixels that training sees."""

import cv2
import mmcv
import numpy as np
import pytest
from helpers import grey_png
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.images import find_media, leaves_high_bits_unused, read_image
from casvit_mm.io import PIXEL_LIMIT, limit_pixels, pixel_limit


@pytest.fixture(scope='module')
def pixels(shapes):
    """RGB pixels (H, W, 3) of one generated image, cut so that it is not square."""
    return np.asarray(Image.open(shapes.parent / 'test/0001.png'))[:48]


def save(image, path, **options):
    Image.fromarray(image).save(path, **options)
    return path


def grey(pixels):
    return pixels[..., 0]


def opaque(pixels, alpha=255):
    return np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)])


def deep(pixels):
    """16 bits per channel, BGR, for OpenCV."""
    return pixels[..., ::-1].astype(np.uint16) * 257


FORMATS = {
    'grey': lambda p, d: (save(grey(p), d / 'a.png'), grey(p)),
    'grey + alpha': lambda p, d: (save(opaque(grey(p), 9), d / 'a.png'), grey(p)),
    'RGBA': lambda p, d: (save(opaque(p, 9), d / 'a.png'), p),
    'RGB TIFF': lambda p, d: (save(p, d / 'a.tif', compression='tiff_lzw'), p),
    'BMP': lambda p, d: (save(p, d / 'a.bmp'), p),
    '16 bit grey PNG': lambda p, d: (cv2.imwrite(str(d / 'a.png'), deep(p)[..., 2]), grey(p)),
    '16 bit grey TIFF': lambda p, d: (cv2.imwrite(str(d / 'a.tif'), deep(p)[..., 2]), grey(p)),
    '16 bit RGB PNG': lambda p, d: (cv2.imwrite(str(d / 'a.png'), deep(p)), p),
    '16 bit RGB TIFF': lambda p, d: (cv2.imwrite(str(d / 'a.tif'), deep(p)), p),
}


@pytest.mark.parametrize('name', FORMATS)
def test_channels_and_depths_give_the_pixels_of_plain_rgb(pixels, tmp_path, name):
    _, expected = FORMATS[name](pixels, tmp_path)
    (path,) = tmp_path.iterdir()
    rgb = np.broadcast_to(expected.reshape(*expected.shape[:2], -1), pixels.shape)
    np.testing.assert_array_equal(read_image(path)[..., ::-1], rgb)


def test_a_palette_and_cmyk_are_converted(pixels, tmp_path):
    palette = Image.fromarray(pixels).quantize(64)
    palette.save(tmp_path / 'a.png', transparency=3)
    expected = np.asarray(palette.convert('RGB'))
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png')[..., ::-1], expected)
    Image.fromarray(pixels).convert('CMYK').save(tmp_path / 'a.jpg', quality=98)
    difference = read_image(tmp_path / 'a.jpg')[..., ::-1].astype(int) - pixels
    assert np.abs(difference).mean() < 3


def test_a_turned_photo_is_upright(pixels, tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was held so that the picture must turn clockwise
    save(pixels, tmp_path / 'a.png', exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / 'a.png')[..., ::-1], np.rot90(pixels, k=3))


def test_pixels_are_those_of_the_training_pipeline(pixels, tmp_path):
    for name, form in FORMATS.items():
        folder = tmp_path / name
        folder.mkdir()
        form(pixels, folder)
        (path,) = folder.iterdir()
        np.testing.assert_array_equal(read_image(path), mmcv.imread(path))


LARGE = [(100_000, 100_000), (32_000, 32_000), (16_385, 16_384)]


@pytest.mark.parametrize('size', LARGE)
def test_more_pixels_than_are_read_are_refused_by_the_header(size, tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(grey_png(*size, 1))
    with pytest.raises(InputError, match=r'a\.png .* header declares more than 268,435,456 pixels'):
        read_image(path)
    with pytest.raises(Exception, match='CV_IO_MAX_IMAGE_PIXELS'):
        mmcv.imread(path)  # training reads by it
    with pytest.raises(Image.DecompressionBombError):
        mmcv.imread(path, backend='pillow')  # by which masks are read


def test_an_image_at_the_limit_is_decoded(tmp_path):
    path = tmp_path / 'a.png'
    path.write_bytes(grey_png(16_384, 16_384, 1))
    with pytest.raises(InputError, match='cut short'):  # it has not a row
        read_image(path)


def test_the_limit_is_a_setting(monkeypatch):
    assert pixel_limit() == 2**28
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', None)
    monkeypatch.setenv(PIXEL_LIMIT, '1200')
    limit_pixels()
    assert (pixel_limit(), Image.MAX_IMAGE_PIXELS) == (1200, 600)
    monkeypatch.setenv(PIXEL_LIMIT, '30 MB')
    with pytest.raises(InputError, match='=30 MB is no number of pixels'):
        limit_pixels()


def test_high_bits_that_a_camera_left_unused_are_noticed(pixels, tmp_path):
    cv2.imwrite(str(tmp_path / 'dim.tif'), grey(pixels).astype(np.uint16) * 16)
    cv2.imwrite(str(tmp_path / 'full.tif'), deep(pixels))
    assert leaves_high_bits_unused(tmp_path / 'dim.tif')
    assert not leaves_high_bits_unused(tmp_path / 'full.tif')


def test_a_file_named_twice_is_done_once(pixels, tmp_path):
    path = save(pixels, tmp_path / 'a.png')
    media, _ = find_media([tmp_path, path], [])
    assert [file.name for file in media] == ['a.png']
