"""What the checks say of an image file is what training makes of it."""

import numpy as np
import pytest
from helpers import grey_png
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.image_scan import scan_headers, scan_images
from casvit_mm.datasets.images import read_image

COLOURS = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
KINDS = {
    'float.tif': lambda path: COLOURS.convert('F').save(path),
    'int.tif': lambda path: COLOURS.convert('I').save(path),
    'cmyk.jp2': lambda path: COLOURS.convert('CMYK').save(path),
    'cmyk.jpg': lambda path: COLOURS.convert('CMYK').save(path),
    'palette.png': lambda path: COLOURS.quantize(16).save(path, transparency=3),
    'bits.png': lambda path: COLOURS.convert('1').save(path),
    'sixteen.png': lambda path: Image.fromarray(np.full((20, 30), 999, np.uint16)).save(path),
    'frames.gif': lambda path: COLOURS.save(path, save_all=True, append_images=[COLOURS]),
    'frames.png': lambda path: COLOURS.save(path, save_all=True, append_images=[COLOURS]),
    'pages.tif': lambda path: COLOURS.save(path, save_all=True, append_images=[COLOURS]),
    'another.jpg': lambda path: COLOURS.save(path, format='PNG'),
    'text.jpg': lambda path: path.write_text('no image'),
    'empty.jpg': lambda path: path.write_bytes(b''),
    'no_rows.png': lambda path: path.write_bytes(grey_png(20, 30, 8)),
    'no_sides.png': lambda path: path.write_bytes(grey_png(0, 0, 8)),
    'large.png': lambda path: path.write_bytes(grey_png(32_000, 32_000, 8)),
    'larger.png': lambda path: path.write_bytes(grey_png(100_000, 100_000, 8)),
}


@pytest.mark.parametrize('name', KINDS)
def test_the_scan_and_the_reader_agree(name, tmp_path):
    path = tmp_path / name
    KINDS[name](path)
    (scan,) = scan_images([path], 'x')
    try:
        height, width = read_image(path).shape[:2]
    except InputError:
        assert scan.error
        assert 'object at' not in scan.error
    else:
        assert scan.error is None
        assert scan.upright == (width, height)


def test_an_image_that_no_pipeline_can_resize_is_unusable(tmp_path):
    path = tmp_path / 'a.png'
    Image.new('L', (3000, 2)).save(path)
    assert 'too thin to be resized' in str(scan_images([path], 'x')[0].error)


@pytest.mark.parametrize(
    ('name', 'content', 'fault'),
    [
        ('a.heic', b'anything', '.heic is a format that training does not read: convert it to'),
        ('a.jpg', b'\0\0\0\x24ftypheic\0\0', 'it is HEIC, whatever its name says, a format that'),
        ('a.dng', 'TIFF', '.dng is a format that training does not read'),  # a thumbnail decodes
        ('a.heic', 'JPEG', None),
        ('a.jfif', 'JPEG', None),
    ],
)
def test_formats_that_training_does_not_read_are_named(tmp_path, name, content, fault):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        COLOURS.save(path, format=content)
    for scan in (*scan_headers([path], 'x'), *scan_images([path], 'x')):
        assert scan.fault == fault if fault is None else fault in scan.fault
