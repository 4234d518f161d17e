"""Own label maps: description, checks of every file, dataset, config, and the report."""

import json
import pickle
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.shapes import CLASSES, generate_shape_labels, generate_shapes
from casvit_mm.detection.data.description import read_dataset as read_detection
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.plotting.colours import distinct_colours
from casvit_mm.segmentation.data.description import read_dataset
from casvit_mm.segmentation.data.prepare import prepare_dataset

pytest.importorskip('mmseg')

from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

from casvit_mm.segmentation import LabelDataset
from casvit_mm.segmentation.data.apply import apply_splits, check_config

SOURCES = 'train: {images: train, labels: train_labels}\nval: {images: val, labels: val_labels}\n'
NAMES = 'classes: [ground, circle, square, triangle]\n'


@pytest.fixture
def folder(tmp_path):
    """Generated images: 4 in train, 3 in val, 2 in test."""
    return generate_shape_labels(tmp_path, sizes=(4, 3, 2), side=64, seed=3).parent


def prepare(folder, text=SOURCES + NAMES, splits=('train', 'val')):
    description = folder / 'mine.yaml'
    description.write_text(text)
    return prepare_dataset(read_dataset(description), splits, folder / 'prepared')


def refusal(folder, text=SOURCES + NAMES, splits=('train', 'val')):
    """The message with which the data is refused."""
    with pytest.raises(InputError) as caught:
        prepare(folder, text, splits)
    return str(caught.value)


def first_label(folder):
    return folder / 'train_labels/0001.png'


def change_label(folder, value, count=7):
    """Put ``value`` into ``count`` pixels of the first label of train."""
    label = Image.open(first_label(folder))
    label.putdata([value] * count + list(label.getdata())[count:])
    label.save(first_label(folder))


def model_sees(folder, text, split='train'):
    """The label maps of a split after mmseg has loaded them, in order."""
    prepared = prepare(folder, text)[split]
    data = read_dataset(folder / 'mine.yaml')
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]
    dataset = build(
        dict(
            type='LabelDataset',
            ann_file=str(prepared.file),
            reduce_zero_label=data.reduce_zero_label,
            metainfo=dict(classes=data.classes, palette=data.palette, ignore=sorted(data.ignore)),
            pipeline=pipeline,
        )
    )
    return [item['gt_seg_map'] for item in dataset]


def build(dataset):
    """Build a dataset as a Runner does whose config has mmseg's default scope."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(dataset)


# The description


def test_a_description_gives_sources_classes_colours_and_ignored_values(folder):
    data = read_dataset(folder / 'dataset.yaml')
    assert data.classes == ('ground', *CLASSES)
    assert data.palette[1] == (230, 70, 60)
    assert data.ignore == {255}
    assert not data.reduce_zero_label
    assert data.splits['test'][0].labels == folder / 'test_labels'


def test_colours_may_be_written_as_in_html_or_left_out(tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text(SOURCES + "classes: {sky: '#4682b4', road: purple}")
    assert read_dataset(path).palette == ((70, 130, 180), (128, 0, 128))
    path.write_text(SOURCES + NAMES)
    assert read_dataset(path).palette == distinct_colours(4)


def test_drawn_colours_are_all_different():
    assert len(set(distinct_colours(255))) == 255


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('train: [', 'not YAML'),
        (SOURCES + NAMES + NAMES, "not YAML: 'classes' stands twice"),
        (SOURCES + 'classes: {sky: red, sky: blue}', "'sky' stands twice"),
        (SOURCES + NAMES + 'ignroe: 3', "unknown field 'ignroe'"),
        ('train: {images: a, labels: b}\n' + NAMES, "lacks 'val', with the fields images and"),
        ('train: []\nval: {images: a, labels: b}\n' + NAMES, "'train' is an empty list"),
        ('train: {labels: b}\n' + NAMES, "'train' needs the fields images and labels"),
        ('train: {images: a, labels: b, mask: c}\n' + NAMES, "unknown field 'mask'"),
        (
            'train: {images: a, labels: b, label_suffix: .jpg}\n' + NAMES,
            "label_suffix '.jpg' names JPEG files",
        ),
        (
            'train: {images: a, labels: b, label_suffix: _labelTrainIds}\n' + NAMES,
            r"label_suffix '_labelTrainIds' must be what file names end with",
        ),
        (SOURCES, 'classes must list the names'),
        (SOURCES + 'classes: 12', 'classes must list the names'),
        (SOURCES + 'classes: [sky, sky]', "classes names 'sky' twice"),
        (SOURCES + 'classes: [crack]', r'nothing to tell apart. .* like \[ground, crack\]'),
        (SOURCES + 'classes: [on, off]', 'YAML takes a name under classes for True'),
        (SOURCES + f'classes: {list(range(256))}', 'lists 256 names, .* at most 255'),
        (
            SOURCES + f'reduce_zero_label: true\nclasses: {list(range(255))}',
            'at most 254: values 1 to 254',
        ),
        (SOURCES + 'classes: {sky: [1, 2], road: red}', r"gives 'sky' the colour \[1, 2\]"),
        (SOURCES + 'classes: {sky: #4682b4\n, road: red}', "'#4682b4' in quotation marks"),
        (SOURCES + NAMES + 'ignore: 256', 'ignore must be a label value from 0 to 255'),
        (SOURCES + NAMES + 'ignore: [255, void]', 'ignore must be a label value'),
        (SOURCES + NAMES + 'reduce_zero_label: 1', 'must be true or false'),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, text, message):
    (tmp_path / 'd.yaml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / 'd.yaml')


def test_the_task_follows_from_the_sources(folder, shapes, tmp_path):
    assert described_task(folder / 'dataset.yaml') == 'segmentation'
    assert described_task(shapes) == 'detection'
    path = tmp_path / 'both.yaml'
    path.write_text('train: [{labels: a, images: b}, {annotations: a, images: b}]')
    with pytest.raises(InputError, match='describe the two in files of their own'):
        described_task(path)


def test_data_of_the_other_task_is_refused_by_name(folder, shapes):
    with pytest.raises(InputError, match='describes segmentation data: its sources name labels:'):
        read_detection(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r'Segmentation needs labels:\. Use a detection config'):
        read_dataset(shapes)


# Pairs


def test_pairs_and_pixels_are_those_of_the_files(folder):
    prepared = prepare(folder)
    train = prepared['train']
    assert [Path(pair.image).name for pair in train.pairs] == [f'000{i}.png' for i in range(1, 5)]
    labels = np.stack([np.asarray(Image.open(pair.label)) for pair in train.pairs])
    assert train.pixels.tolist() == [int((labels == value).sum()) for value in range(4)]
    assert train.pixels.dtype == np.int64
    assert train.ignored == (labels == 255).sum() > 0
    assert len(json.loads(train.file.read_text())['pairs']) == 4


def test_prepared_splits_can_be_broadcast(folder):
    prepared = prepare(folder)['train']
    assert pickle.loads(pickle.dumps(prepared)).pairs == prepared.pairs


def test_val_stands_in_for_a_test_split_that_is_not_there(folder):
    assert prepare(folder, splits=('test',))['test'].file.name == 'val.json'


def test_a_list_takes_names_with_and_without_suffix(folder):
    (folder / 'some.txt').write_text('0003.png\n\n0001\n')
    text = SOURCES.replace('train_labels', 'train_labels, list: some.txt') + NAMES
    pairs = prepare(folder, text)['train'].pairs
    assert [Path(pair.label).name for pair in pairs] == ['0001.png', '0003.png']


def test_suffixes_pair_names_that_differ_in_their_ends_in_folders_below(folder):
    # As Cityscapes has it: other files of the same image beside the label map.
    for i in range(1, 5):
        city = f'city{i % 2}'
        for kind, end in (('train', '_leftImg8bit'), ('train_labels', '_gtFine_labelTrainIds')):
            (folder / kind / city).mkdir(exist_ok=True)
            old = folder / kind / f'000{i}.png'
            shutil.copy(old, folder / kind / city / f'{i}_gtFine_color.png') if 'l_' in kind else 0
            old.rename(folder / kind / city / f'{i}{end}.png')
    suffixes = 'image_suffix: _leftImg8bit.png, label_suffix: _gtFine_labelTrainIds.png'
    text = SOURCES.replace('train_labels', f'train_labels, {suffixes}') + NAMES
    pairs = prepare(folder, text)['train'].pairs
    assert [Path(pair.image).name[0] for pair in pairs] == ['2', '4', '1', '3']
    assert all('labelTrainIds' in pair.label for pair in pairs)
    assert 'give image_suffix: and label_suffix:' in refusal(folder)


def test_images_and_labels_may_share_a_folder(folder):
    for path in (folder / 'train_labels').iterdir():
        path.rename(folder / 'train' / f'{path.stem}_mask.png')
    text = SOURCES.replace('train_labels', 'train, label_suffix: _mask.png') + NAMES
    assert len(prepare(folder, text)['train'].pairs) == 4


def test_several_sources_are_joined(folder):
    joined = '[{images: train, labels: train_labels}, {images: test, labels: test_labels}]'
    text = SOURCES.replace('{images: train, labels: train_labels}', joined) + NAMES
    pairs = prepare(folder, text)['train'].pairs
    assert [Path(pair.image).parent.name for pair in pairs] == ['train'] * 4 + ['test'] * 2


# What the model sees


def test_indices_of_a_palette_are_the_classes(folder):
    seen = model_sees(folder, SOURCES + NAMES)[0]
    assert Image.open(first_label(folder)).mode == 'P'
    np.testing.assert_array_equal(seen, np.asarray(Image.open(first_label(folder))))


def test_ignored_values_become_255(folder):
    change_label(folder, 11)
    seen = model_sees(folder, SOURCES + NAMES + 'ignore: [11, 3]')[0]
    file = np.asarray(Image.open(first_label(folder)))
    np.testing.assert_array_equal(seen == 255, np.isin(file, [3, 11, 255]))
    np.testing.assert_array_equal(seen[seen != 255], file[seen != 255])


def test_with_reduced_zero_label_value_1_is_the_first_class(folder):
    text = SOURCES + 'classes: [circle, square, triangle]\nreduce_zero_label: true\n'
    file = np.asarray(Image.open(first_label(folder))).astype(int)
    expected = np.where(np.isin(file, [0, 255]), 255, file - 1)
    np.testing.assert_array_equal(model_sees(folder, text)[0], expected)
    assert prepare(folder, text)['train'].pixels.shape == (3,)


def test_with_reduced_zero_label_ignored_values_are_those_of_the_file(folder):
    text = SOURCES + 'classes: [circle, square]\nreduce_zero_label: true\nignore: 3'
    file = np.stack([np.asarray(Image.open(p)) for p in sorted((folder / 'val_labels').iterdir())])
    seen = np.stack(model_sees(folder, text, 'val'))
    assert (file == 3).any()
    np.testing.assert_array_equal(seen == 255, np.isin(file, [0, 3, 255]))
    pixels = prepare(folder, text)['val'].pixels
    assert pixels.tolist() == [int((seen == 0).sum()), int((seen == 1).sum())]


def test_one_bit_labels_are_0_and_1(folder):
    for path in [*(folder / 'train_labels').iterdir(), *(folder / 'val_labels').iterdir()]:
        Image.fromarray(np.asarray(Image.open(path)) > 0).save(path)
    text = SOURCES + 'classes: [ground, object]'
    seen = model_sees(folder, text)
    assert set(np.unique(seen)) == {0, 1}
    assert prepare(folder, text)['train'].pixels[1] == np.sum(seen)


# Refusals


@pytest.mark.parametrize(
    ('value', 'text', 'message'),
    [
        (4, '', r'0001\.png holds 4 at 7 pixels, .* lists 4 names, for values 0 to 3\. 1 of 4 '),
        (4, '', r'labels of train hold 4\. Add a name or ignore: 4; if 0 means unlabelled'),
        (9, '', r'Put values that are no class under ignore: 9; classes are numbered without gaps'),
        (9, 'ignore: 7', r'ignore: \[7, 9\]'),
    ],
)
def test_values_outside_the_classes_are_refused(folder, value, text, message):
    change_label(folder, value)
    with pytest.raises(InputError, match=message):
        prepare(folder, SOURCES + NAMES + text)


def test_a_list_of_classes_that_is_too_short_is_told_with_the_number_of_files(folder):
    message = refusal(folder, SOURCES + 'classes: [ground, circle]')
    assert 'lists 2 names, for values 0 to 1' in message
    assert 'Add 2 names or ignore: [2, 3]' in message
    assert 'more like it: python tools/check_data.py lists them all' in message


def test_an_image_without_label_is_refused(folder):
    first_label(folder).unlink()
    message = refusal(folder)
    assert f'{folder / "train/0001.png"} has no label in {folder / "train_labels"}' in message
    assert '1 of 4 images of train' in message


def test_a_label_without_image_is_refused(folder):
    (folder / 'train/0002.png').unlink()
    message = refusal(folder)
    assert f'label {folder / "train_labels/0002.png"} has no image' in message
    assert '1 of 4 labels of train' in message


def test_with_a_list_only_listed_names_need_a_partner(folder):
    (folder / 'some.txt').write_text('0001\n0003\n0004\n')
    (folder / 'train/0002.png').unlink()
    text = SOURCES.replace('train_labels', 'train_labels, list: some.txt') + NAMES
    assert len(prepare(folder, text)['train'].pairs) == 3
    first_label(folder).unlink()
    assert '1 of 3 images of train' in refusal(folder, text)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('0001\n\n0009.png\n', "some.txt, line 3: '0009.png' is no image of"),
        ('0001\n0001.png\n', "line 2: '0001.png' is the image of line 1"),
        ('', 'is empty'),
        (None, 'does not exist'),
    ],
)
def test_a_wrong_list_is_refused_by_line(folder, content, message):
    if content is not None:
        (folder / 'some.txt').write_text(content)
    text = SOURCES.replace('train_labels', 'train_labels, list: some.txt') + NAMES
    assert message in refusal(folder, text)


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
    assert 'own_data.md#label-maps shows how to convert' in message


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
    first_label(folder).write_bytes(four_bit_png(64, 64))
    assert 'grey PNG of 4 bits per pixel, whose values reading multiplies by 17' in refusal(folder)


def four_bit_png(width, height):
    def chunk(kind, body):
        return (
            struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
        )

    rows = (b'\x00' + b'\x12' * (width // 2)) * height
    header = struct.pack('>IIBBBBB', width, height, 4, 0, 0, 0, 0)
    body = chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    return b'\x89PNG\r\n\x1a\n' + body


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
        ('train', b'', r'image .*0001\.png is empty'),
        ('train', b'no image', r'image .*0001\.png .* cannot be decoded'),
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


def test_two_files_of_one_name_are_refused(folder):
    shutil.copy(folder / 'train/0001.png', folder / 'train/0001.bmp')
    assert "could both be the image '0001'; say which by image_suffix:" in refusal(folder)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('train', 'holds no image'), ('train_labels', 'holds no mask')],
)
def test_an_empty_split_is_refused(folder, name, message):
    shutil.rmtree(folder / name)
    assert f'folder {folder / name} (train of {folder / "mine.yaml"}) does not exist' in refusal(
        folder
    )
    (folder / name).mkdir()
    assert message in refusal(folder)


def test_images_in_two_splits_are_refused(folder):
    text = SOURCES + 'test: {images: val, labels: val_labels}\n' + NAMES
    message = refusal(folder, text, ('val', 'test'))
    assert '3 image(s) are in val and in test' in message
    assert 'a test split that is left out is val' in message


def test_train_that_is_ignored_as_a_whole_is_refused(folder):
    message = refusal(folder, SOURCES + NAMES + 'ignore: [0, 1, 2, 3]')
    assert 'shows no class at all: every pixel is ignored' in message


def test_masks_of_0_and_255_are_refused_with_the_cause(folder):
    for path in [*(folder / 'train_labels').iterdir(), *(folder / 'val_labels').iterdir()]:
        mask = np.asarray(Image.open(path)) > 0
        Image.fromarray(mask.astype(np.uint8) * 255).save(path)
    message = refusal(folder, SOURCES + 'classes: [ground, object]')
    assert "shows no class but 'ground'" in message
    assert 'masks drawn with 0 and 255 must be saved with 0 and 1' in message


def test_a_class_without_pixels_is_a_remark(folder):
    text = SOURCES + 'classes: [ground, circle, square, triangle, star]'
    prepared = prepare(folder, text)
    assert prepared['train'].pixels[4] == 0
    assert prepared['train'].notes == ("class 'star' has no pixel in train; it cannot be learnt",)
    assert "class 'star' has no pixel in val; its IoU is not measured" in prepared['val'].notes


def test_a_label_map_without_a_class_is_a_remark(folder):
    Image.fromarray(np.full((64, 64), 255, np.uint8)).save(first_label(folder))
    (note,) = prepare(folder)['train'].notes
    assert note == f'label {first_label(folder)} holds ignored values only'


def test_an_ignored_class_is_a_remark(folder):
    (note,) = prepare(folder, SOURCES + NAMES + 'ignore: 3')['train'].notes
    assert note.startswith("class 'triangle' of ")
    assert 'also under ignore:' in note


# Configs

UPSTREAM = 'mmseg::pspnet/pspnet_r50-d8_4xb4-80k_ade20k-512x512.py'
CITYSCAPES = 'mmseg::bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py'


def load(name):
    path = Path(__import__('mmseg').__file__).parent / '.mim/configs' / name.split('::')[1]
    return Config.fromfile(path)


@pytest.mark.parametrize('name', [UPSTREAM, CITYSCAPES])
def test_any_config_of_mmseg_reads_the_data(folder, name):
    cfg = load(name)
    check_config(cfg)
    splits = ('train', 'val', 'test')
    prepared = prepare_dataset(read_dataset(folder / 'dataset.yaml'), splits, folder / 'p')
    apply_splits(cfg, read_dataset(folder / 'dataset.yaml'), prepared)
    heads = cfg.model.auxiliary_head
    for head in [cfg.model.decode_head, *(heads if isinstance(heads, list) else [heads])]:
        assert head.num_classes == 4
    assert 'casvit_mm.segmentation' in cfg.custom_imports.imports
    for split, count in dict(train=4, val=3, test=2).items():
        dataset = build(cfg[f'{split}_dataloader'].dataset)
        assert isinstance(dataset, LabelDataset)
        assert dataset.metainfo['classes'] == ('ground', *CLASSES)
        assert dataset.metainfo['palette'][1] == [230, 70, 60]
        assert len(dataset) == count
        label = dataset[0]['data_samples'].gt_sem_seg.data
        assert set(np.unique(label)) <= {0, 1, 2, 3, 255}


def test_a_config_survives_being_written_and_read(folder):
    cfg = load(UPSTREAM)
    data = read_dataset(folder / 'dataset.yaml')
    apply_splits(cfg, data, prepare_dataset(data, ('train',), folder / 'p'))
    cfg.dump(folder / 'copy.py')
    dataset = build(Config.fromfile(folder / 'copy.py').train_dataloader.dataset)
    assert dataset.metainfo['palette'] == [list(colour) for colour in data.palette]


def test_classes_of_a_checkpoint_must_be_those_of_the_data(folder):
    cfg = load(UPSTREAM)
    data = read_dataset(folder / 'dataset.yaml')
    prepared = prepare_dataset(data, ('test',), folder / 'p')
    apply_splits(cfg, data, prepared, data.classes)
    with pytest.raises(InputError, match='the same names in another order'):
        apply_splits(cfg, data, prepared, data.classes[::-1])
    with pytest.raises(InputError, match=r"only the data has \['triangle'\], only the .*'star'"):
        apply_splits(cfg, data, prepared, ('ground', 'circle', 'square', 'star'))


def test_weights_for_other_classes_are_refused(folder):
    cfg = load(UPSTREAM)
    cfg.model.decode_head.loss_decode.class_weight = [1.0] * 150
    data = read_dataset(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r'CrossEntropyLoss .* class_weight for 150 classes'):
        apply_splits(cfg, data, prepare_dataset(data, ('train',), folder / 'p'))


def test_a_config_of_another_task_is_refused():
    detection = Config(dict(model=dict(type='RetinaNet')))
    with pytest.raises(InputError, match=r"has a model 'RetinaNet'\. Use a segmentation config"):
        check_config(detection)


# The report


def test_the_report_counts_and_draws_a_sound_set(folder, capsys):
    assert check_dataset(folder / 'dataset.yaml', folder / 'out')
    printed = capsys.readouterr().out
    assert printed.startswith('YES: training can start')
    report = json.loads((folder / 'out/report.json').read_text())
    expected = prepare_dataset(read_dataset(folder / 'dataset.yaml'), ('train',), folder / 'p')[
        'train'
    ]
    assert list(report['splits']['train']['pixels_per_class'].values()) == expected.pixels.tolist()
    assert report['splits']['test']['images'] == 2
    assert report['pictures'] == ['samples_train.png', 'samples_val.png', 'samples_test.png']
    assert all((folder / 'out' / name).stat().st_size > 10_000 for name in report['pictures'])


def test_the_report_lists_every_defect(folder, capsys):
    change_label(folder, 9)
    (folder / 'val_labels/0001.png').unlink()
    Image.open(folder / 'test_labels/0001.png').convert('RGB').save(folder / 'test_labels/0001.png')
    shutil.copy(folder / 'train/0002.png', folder / 'test/0002.png')
    assert not check_dataset(folder / 'dataset.yaml', folder / 'out')
    report = json.loads((folder / 'out/report.json').read_text())
    found = {(d['split'], d['kind'], d['where'], d['fatal']) for d in report['defects']}
    assert found >= {
        ('train', 'value outside the classes', '0001.png', True),
        ('val', 'image without label', '0001.png', True),
        ('test', 'label in colours', '0001.png', True),
        ('train', 'image in two splits', '0002.png', False),
    }
    assert 'NO: training would refuse this data; 3 places stop it.' in capsys.readouterr().out


def test_what_is_for_detection_alone_is_refused(folder):
    with pytest.raises(InputError, match='--fix is for detection data'):
        check_dataset(folder / 'dataset.yaml', folder / 'out', fix=folder / 'clean')
    with pytest.raises(InputError, match='--config is for detection data'):
        check_dataset(folder / 'dataset.yaml', folder / 'out', config='a.py')


# Generated data


def test_generated_label_maps_belong_to_the_generated_images(tmp_path):
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
