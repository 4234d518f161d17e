"""What one mask and its image must be."""

import numpy as np
import pytest
from helpers import grey_png
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets import scan_memory
from casvit_mm.segmentation.data import scan

pytest.importorskip('mmseg')
from mmseg.datasets.transforms import LoadAnnotations
from segmentation_data import NAMES, SOURCES, first_label, model_sees, prepare, refusal


def test_a_label_of_another_size_is_refused(folder):
    Image.open(first_label(folder)).resize((32, 64)).save(first_label(folder))
    assert f'is 32 x 64 pixels, but its image {folder / "train/0001.png"} is 64 x 64' in refusal(
        folder
    )


def test_sizes_are_compared_as_training_turns_the_image(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = folder / 'train/0001.png'
    Image.open(image).resize((64, 48)).save(image, exif=exif)
    Image.open(first_label(folder)).resize((48, 64)).save(first_label(folder))
    item = model_sees(folder, SOURCES + NAMES)
    assert item[0].shape == (64, 48)
    Image.open(first_label(folder)).resize((64, 48)).save(first_label(folder))
    assert 'is 48 x 64 once its EXIF orientation is applied' in refusal(folder)


def test_colour_coded_labels_are_refused(folder):
    label = Image.open(first_label(folder)).convert('RGB')
    label.save(first_label(folder))
    message = refusal(folder)
    assert f'label {first_label(folder)} is colour-coded (RGB, ' in message
    assert "like classes: {sky: '#f0d282', road: '#" in message


@pytest.mark.parametrize('mode', ['LA', 'RGB', 'RGBA'])
def test_indices_saved_in_equal_channels_are_told_from_colours(folder, mode):
    label = Image.fromarray(np.asarray(Image.open(first_label(folder))))
    label.convert(mode).save(first_label(folder))
    assert f'is saved as {mode} with equal channels' in refusal(folder)


def test_labels_of_16_bits_are_refused(folder):
    values = np.asarray(Image.open(first_label(folder))).astype(np.uint16) + 256
    Image.fromarray(values).save(first_label(folder))
    message = refusal(folder)
    assert 'has more than 8 bits per pixel (values up to 511)' in message
    # What would have happened without the check:
    loaded = LoadAnnotations()(
        dict(seg_map_path=str(first_label(folder)), reduce_zero_label=False, seg_fields=[])
    )
    assert loaded['gt_seg_map'].max() == 255


def test_grey_labels_of_4_bits_are_refused_since_reading_multiplies_them(folder):
    first_label(folder).write_bytes(grey_png(64, 64, 4, (b'\x00' + b'\x12' * 32) * 64))
    assert 'grey PNG of 4 bits per pixel, whose values reading multiplies by 17' in refusal(folder)


def test_jpeg_labels_are_refused_whatever_their_name(folder):
    label = Image.open(first_label(folder)).convert('L')
    label.save(first_label(folder), format='JPEG')
    assert 'is a JPEG file whatever its name says' in refusal(folder)
    first_label(folder).rename(first_label(folder).with_suffix('.jpg'))
    message = refusal(folder)
    assert '0001.jpg is a JPEG file, whose compression changes label values (1 of 4' in message


@pytest.mark.parametrize(
    ('kind', 'content', 'message'),
    [
        ('train_labels', b'', r'label .*0001\.png cannot be read: it is empty'),
        ('train_labels', b'no image', r'label .*0001\.png cannot be read: it is no image'),
        ('train_labels', None, r'label .*0001\.png cannot be read: it is damaged or cut short'),
        ('train', b'', r'image .*0001\.png cannot be read: it is empty'),
        ('train', b'no image', r'image .*0001\.png cannot be read: it is no image'),
        ('train', None, r'image .*0001\.png cannot be read: it is damaged or cut short'),
    ],
)
def test_unreadable_and_cut_files_are_refused(folder, kind, content, message):
    path = folder / kind / '0001.png'
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3] if content is None else content)
    with pytest.raises(InputError, match=message):
        prepare(folder)


def test_a_cut_jpeg_image_is_refused(folder):
    path = folder / 'train/0001.png'
    Image.open(path).save(path.with_suffix('.jpg'))
    path.unlink()
    whole = path.with_suffix('.jpg').read_bytes()
    path.with_suffix('.jpg').write_bytes(whole + b'\0' * 100)  # more behind the end is no damage
    prepare(folder)
    path.with_suffix('.jpg').write_bytes(whole[:-200])
    assert 'it is damaged or cut short' in refusal(folder)


def test_formats_beside_png_and_jpeg_are_learnt_refused_or_counted(folder):
    image, path = Image.open(folder / 'train/0001.png'), folder / 'train/0001.jfif'
    image.save(path, format='JPEG')
    (folder / 'train/0001.png').unlink()
    (folder / 'train/0001.psd').touch()
    train = prepare(folder)['train']
    assert len(train.pairs) == 4
    assert '1 .psd' in train.notes[0]
    (folder / 'train/0001.psd').unlink()
    path.rename(path.with_suffix('.heic'))
    path.with_suffix('.heic').write_bytes(b'anything')
    assert '0001.heic cannot be read: .heic is a format that training does not' in refusal(folder)


@pytest.mark.parametrize('kind', ['train', 'train_labels'])
def test_more_pixels_than_are_read_are_refused_by_the_header(folder, kind):
    (folder / kind / '0001.png').write_bytes(grey_png(32_000, 32_000, 8))
    assert 'its header declares more than 268,435,456 pixels' in refusal(folder)


def test_an_image_that_training_cannot_decode_is_refused(folder):
    path = folder / 'train/0001.png'
    Image.open(path).convert('F').save(path.with_suffix('.tif'))
    path.unlink()
    assert '32 bits per channel' in refusal(folder)
    path.with_suffix('.tif').unlink()
    Image.new('L', (3000, 2)).save(path)
    assert 'with 3000 x 2 pixels it is too thin to be resized' in refusal(folder)


def test_the_values_of_masks_are_remembered_for_each_way_of_reading_them(folder, monkeypatch):
    monkeypatch.setattr(scan_memory, '_SETTLED', -(2**62))
    texts = [SOURCES + NAMES, SOURCES + 'classes: {ground: 0, circle: [1, 2], triangle: 3}']
    first = [prepare(folder, text) for text in texts]
    monkeypatch.setattr(scan, '_read_label', lambda *_: pytest.fail('a mask is read again'))
    for text, prepared in zip(texts, first, strict=True):
        for name, split in prepare(folder, text).items():
            np.testing.assert_array_equal(split.pixels, prepared[name].pixels)
            assert (split.pairs, split.ignored) == (prepared[name].pairs, prepared[name].ignored)
