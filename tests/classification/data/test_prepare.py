"""Own images in classes: description, checks of every file, dataset, config, and the report."""

import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from casvit_mm import InputError
from casvit_mm.classification.data.description import read_dataset
from casvit_mm.classification.data.prepare import prepare_dataset
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.shapes import CLASSES, generate_shape_classes
from casvit_mm.detection.data.description import read_dataset as read_detection
from casvit_mm.engine.data_check import check_dataset
from casvit_mm.segmentation.data.description import read_dataset as read_segmentation

pytest.importorskip('mmpretrain')

from mmpretrain.registry import DATASETS

from casvit_mm.classification import ClassDataset
from casvit_mm.classification.data.apply import apply_splits, check_config

SOURCES = 'train: {images: train}\nval: {images: val}\n'
NAMES = 'classes: [circle, square, triangle]\n'
FLAT = 'train: {images: flat, list: train.txt}\nval: {images: val}\n'
TRASHNET = Path(os.environ.get('CASVIT_DATA', ROOT.parent / 'shared/data'), 'trashnet_small')


@pytest.fixture
def folder(tmp_path):
    """Generated images: 6 in train, 6 in val, 3 in test."""
    return generate_shape_classes(tmp_path, sizes=(6, 6, 3), side=32, seed=3).parent


@pytest.fixture
def flat(folder):
    """The images of train once more in one folder, with names that tell nothing."""
    (folder / 'flat').mkdir()
    for i, path in enumerate(sorted((folder / 'train').rglob('*.png'))):
        shutil.copy(path, folder / 'flat' / f'{i}.png')
    return folder


def prepare(folder, text=SOURCES, splits=('train', 'val')):
    description = folder / 'mine.yaml'
    description.write_text(text)
    return prepare_dataset(read_dataset(description), splits, folder / 'prepared')


def refusal(folder, text=SOURCES, splits=('train', 'val')):
    """The message with which the data is refused."""
    with pytest.raises(InputError) as caught:
        prepare(folder, text, splits)
    return str(caught.value)


def first(folder):
    return folder / 'train/circle/0000.png'


def names_and_labels(prepared):
    return [(Path(path).name, label) for path, label in prepared.images]


def build(dataset):
    """Build a dataset as a Runner does whose config has mmpretrain's default scope."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(dataset)


# The description


def test_a_description_gives_sources_and_what_may_be_left_out(folder):
    data = read_dataset(folder / 'dataset.yaml')
    assert data.splits['test'][0].images == folder / 'test'
    assert (data.classes, data.split, data.first_label, data.skip_unreadable) == (None, None, 0, 0)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('train: [', 'not YAML'),
        ('train: {images: a}', "lacks 'val', with the field images: a folder with one folder for"),
        ('train: []\nval: {images: a}', "'train' is an empty list"),
        ('train: {list: a}\nval: {images: a}', "'train' needs the fields images"),
        ('train: {images: a, lsit: b}\nval: {images: a}', "unknown field 'lsit'"),
        (SOURCES + 'ignroe: 3', "unknown field 'ignroe'"),
        (SOURCES + 'classes: 12', 'classes must be a list of names, like'),
        (SOURCES + 'classes: [cat]', "classes names 'cat' alone, .* nothing to tell apart"),
        (SOURCES + 'classes: [cat, cat]', "classes names 'cat' twice"),
        (SOURCES + 'classes: [on, off]', 'YAML takes a name under classes for True'),
        (SOURCES + 'first_label: -1', 'first_label must be the number'),
        (SOURCES + 'skip_unreadable: 1', 'skip_unreadable must be true or false'),
        (SOURCES + 'split: {val: 0.2}', 'data and split belong together'),
        (
            'train: {images: a, list: b, class_from: labels}\nval: {images: a}',
            "class_from must be one of folders, list, got 'labels'",
        ),
        (
            'train: {images: a, class_from: list}\nval: {images: a}',
            'class_from: list needs a text file under list:',
        ),
    ],
)
def test_a_wrong_description_is_refused_by_field(tmp_path, text, message):
    (tmp_path / 'd.yaml').write_text(text)
    with pytest.raises(InputError, match=message):
        read_dataset(tmp_path / 'd.yaml')


def test_images_without_annotations_and_labels_are_for_classification(folder):
    assert described_task(folder / 'dataset.yaml') == 'classification'


def test_a_detection_user_who_forgot_annotations_is_told_so(folder):
    message = (
        'describes classification data: its sources name images: alone. '
        'Detection needs annotations:. Add annotations: to every source'
    )
    with pytest.raises(InputError, match=message):
        read_detection(folder / 'dataset.yaml')
    with pytest.raises(InputError, match=r'Segmentation needs labels:\. Add labels: to every'):
        read_segmentation(folder / 'dataset.yaml')


def test_one_source_without_annotations_does_not_change_the_task(tmp_path):
    path = tmp_path / 'd.yaml'
    path.write_text('train: {images: a, annotations: b}\nval: {images: a}')
    assert described_task(path) == 'detection'
    with pytest.raises(InputError, match="'val' needs the fields annotations and images"):
        read_detection(path)


def test_data_of_another_task_is_refused_by_name(shapes):
    with pytest.raises(InputError, match=r'Classification needs images: alone\. Use a detection'):
        read_dataset(shapes)


# Folders


def test_classes_are_the_folders_sorted_by_name(folder):
    train = prepare(folder)['train']
    assert train.classes == CLASSES == tuple(sorted(CLASSES))
    assert [Path(path).parent.name for path, _ in train.images] == [
        CLASSES[label] for _, label in train.images
    ]
    assert train.counts.tolist() == [2, 2, 2]
    assert train.counts.dtype == np.int64
    content = json.loads(train.file.read_text())
    assert content['classes'] == list(CLASSES)
    assert content['images'] == [list(image) for image in train.images]
    assert Path(content['images'][0][0]).is_absolute()


def test_prepared_splits_can_be_broadcast(folder):
    prepared = prepare(folder)['train']
    assert pickle.loads(pickle.dumps(prepared)).images == prepared.images


def test_val_stands_in_for_a_test_split_that_is_not_there(folder):
    assert prepare(folder, splits=('test',))['test'].file.name == 'val.json'


def test_listed_classes_fix_the_order(folder):
    text = SOURCES + 'classes: [triangle, circle, square]'
    assert prepare(folder, text)['train'].classes == ('triangle', 'circle', 'square')


def test_folders_below_a_class_belong_to_it(folder):
    (folder / 'train/circle/red').mkdir()
    first(folder).rename(folder / 'train/circle/red/0000.png')
    assert prepare(folder)['train'].counts.tolist() == [2, 2, 2]


def test_hidden_files_and_other_files_are_left_alone(folder):
    (folder / 'train/circle/.hidden.png').write_bytes(b'')
    (folder / 'train/circle/Thumbs.db').write_bytes(b'')
    (folder / 'train/.cache').mkdir()
    (folder / 'train/notes.txt').write_text('')
    train = prepare(folder)['train']
    assert (len(train.images), train.notes) == (6, ())


def test_several_sources_are_joined(folder):
    text = SOURCES.replace('train: {images: train}', 'train: [{images: train}, {images: test}]')
    assert len(prepare(folder, text)['train'].images) == 9


def test_labels_of_a_test_split_are_those_of_train(folder):
    shutil.rmtree(folder / 'test/circle')
    test = prepare(folder, SOURCES + 'test: {images: test}', ('test',))['test']
    assert test.classes == CLASSES
    assert [label for _, label in test.images] == [1, 2]


def test_a_test_split_can_be_read_where_train_is_not(folder):
    shutil.rmtree(folder / 'train/circle')
    (folder / 'train.txt').write_text('circle/0000.png\n0001.png')
    text = SOURCES.replace('images: train', 'images: train, list: train.txt')
    assert len(prepare(folder, text, ('val',))['val'].images) == 6
    shutil.rmtree(folder / 'train')
    assert len(prepare(folder, text, ('val',))['val'].images) == 6


def test_one_folder_is_split_by_chance_once(folder):
    text = 'data: {images: train}\nsplit: {val: 0.2, test: 0.2, seed: 4}'
    splits = ('train', 'val', 'test')
    drawn = prepare(folder, text, splits)
    paths = [path for name in splits for path, _ in drawn[name].images]
    assert len(paths) == len(set(paths)) == 6
    again = prepare(folder, text, splits)
    assert [again[name].images for name in splits] == [drawn[name].images for name in splits]


def test_folds_are_blocks_of_every_class(folder):
    text = 'data: {images: train}\nsplit: {folds: 2, fold: 1}'
    prepared = prepare(folder, text)
    assert prepared['train'].counts.tolist() == prepared['val'].counts.tolist() == [1, 1, 1]
    message = refusal(folder, text.replace('folds: 2', 'folds: 3'))
    assert "3 folds need as many images of every class, and class 'circle' has 2" in message


# Lists


def test_a_list_takes_paths_and_names_that_are_unique(folder):
    (folder / 'train.txt').write_text('circle/0000.png\n0001.png\n\n0002.png\n./square/0004.png\n')
    text = SOURCES.replace('images: train', 'images: train, list: train.txt')
    assert names_and_labels(prepare(folder, text)['train']) == [
        ('0000.png', 0),
        ('0001.png', 1),
        ('0004.png', 1),
        ('0002.png', 2),
    ]


def test_names_and_labels_of_a_list_may_hold_blanks(flat):
    (flat / 'flat/0.png').rename(flat / 'flat/a b.png')
    (flat / 'train.txt').write_text('a b.png traffic light\n1.png sky')
    val = '\nval: {images: flat, list: val.txt}'
    (flat / 'val.txt').write_text('2.png sky')
    train = prepare(flat, FLAT.split('\n')[0] + val)['train']
    assert train.classes == ('sky', 'traffic light')
    assert names_and_labels(train) == [('1.png', 0), ('a b.png', 1)]


@pytest.mark.parametrize('start', [0, 1])
def test_numbers_are_positions_among_the_classes(flat, start):
    lines = [f'{i}.png {i // 2 + start}' for i in range(6)]
    (flat / 'train.txt').write_text('\n'.join(lines))
    text = FLAT + NAMES + f'first_label: {start}'
    assert names_and_labels(prepare(flat, text)['train']) == [
        (f'{i}.png', i // 2) for i in range(6)
    ]


def test_labels_may_decide_though_images_lie_in_folders(folder):
    text = SOURCES.replace('images: train', 'images: train, list: train.txt, class_from: list')
    (folder / 'train.txt').write_text('0000.png square\n0001.png square\n0002.png circle')
    shutil.rmtree(folder / 'val/triangle')
    assert names_and_labels(prepare(folder, text)['train']) == [
        ('0000.png', 1),
        ('0001.png', 1),
        ('0002.png', 0),
    ]


@pytest.mark.skipif(not TRASHNET.is_dir(), reason='needs trashnet_small')
def test_the_official_lists_of_trashnet_are_taken(tmp_path):
    text = f'root: {TRASHNET}\n' + ''.join(
        f'{name}: {{images: images, list: one-indexed-files-notrash_{name}.txt}}\n'
        for name in ('train', 'val', 'test')
    )
    prepared = prepare(tmp_path, text, ('train', 'val', 'test'))
    assert [len(split.images) for split in prepared.values()] == [1768, 328, 431]
    assert prepared['train'].classes == ('cardboard', 'glass', 'metal', 'paper', 'plastic', 'trash')
    assert any('the same image has several labels' in text for text in prepared['train'].notes)


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            '0.png cat\n9.png cat\n8.png dog',
            r"train.txt, line 2: '9.png cat' names no image in .*flat \(2 of 3 lines do not: "
            r"'9.png cat', '8.png dog'\)",
        ),
        ('0.png cat\n0.png dog', "line 2: '0.png dog' is the image of line 1"),
        ('0.png cat\n0.png cat', "names '0.png cat' twice"),
        ('', 'is empty'),
        (None, 'does not exist'),
        ('0.png\n1.png', "line 1: '0.png' tells no class: .* so a label must follow its name"),
        (
            '0.png 3\n1.png 4',
            r'has numbers for labels \(3 to 4\), .* Name the classes in the order',
        ),
        (b'caf\xe9.png cat', 'is no text in UTF-8'),
    ],
)
def test_a_wrong_list_is_refused_by_line(flat, lines, message):
    if lines is not None:
        (flat / 'train.txt').write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    with pytest.raises(InputError, match=message):
        prepare(flat, FLAT)


def test_a_name_that_fits_two_images_is_refused(folder):
    shutil.copy(first(folder), folder / 'train/square/0000.png')
    (folder / 'train.txt').write_text('0000.png')
    text = SOURCES.replace('images: train', 'images: train, list: train.txt')
    assert 'circle/0000.png or' in refusal(folder, text)
    assert 'square/0000.png; name the folder as well' in refusal(folder, text)


def test_labels_counted_from_one_are_refused_with_the_cure(flat):
    (flat / 'train.txt').write_text('\n'.join(f'{i}.png {i // 2 + 1}' for i in range(6)))
    message = refusal(flat, FLAT + NAMES)
    assert 'has labels from 1 to 3, but without first_label the 3 names' in message
    assert 'Add first_label: 1 there.' in message


def test_a_number_beyond_the_classes_is_refused_by_line(flat):
    (flat / 'train.txt').write_text('0.png 0\n1.png 5')
    message = refusal(flat, FLAT + NAMES)
    assert "line 2: '1.png 5' has label 5, but the 3 names" in message
    assert 'have the numbers 0 to 2' in message


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (
            ['0000.png 1', '0003.png 1', '0001.png 2', '0004.png 1'],
            "gives label '1' to an image in folder 'square', but",
        ),
        (
            ['0000.png 1', '0001.png 1'],
            "folder 'square', but '1' is the label of folder 'circle' already",
        ),
        (
            ['0000.png square', '0001.png circle'],
            "in folder 'circle', but 'square' is another folder",
        ),
    ],
)
def test_labels_that_contradict_the_folders_are_refused(folder, lines, message):
    (folder / 'train.txt').write_text('\n'.join(lines))
    refused = refusal(folder, SOURCES.replace('images: train', 'images: train, list: train.txt'))
    assert message in refused
    assert 'where folders are no classes, write class_from: list' in refused


# Refusals


def test_a_missing_folder_is_refused(folder):
    shutil.rmtree(folder / 'val')
    message = f'folder {folder / "val"} (val of {folder / "mine.yaml"}) does not exist'
    assert refusal(folder) == message


def test_an_empty_split_is_refused(folder):
    for path in (folder / 'val').rglob('*.png'):
        path.unlink()
    assert f'image folder {folder / "val"}' in refusal(folder)
    assert 'holds no image, nor do the folders in it' in refusal(folder)


def test_images_without_folders_are_refused(flat):
    message = refusal(flat, SOURCES.replace('images: train', 'images: flat'))
    assert 'lie in no folders, so nothing tells their class' in message
    assert 'NAME LABEL in each line by list:' in message


@pytest.mark.parametrize('text', [SOURCES, 'data: {images: train}\nsplit: {val: 0.2}'])
def test_an_empty_class_folder_is_refused(folder, text):
    (folder / 'train/star').mkdir()
    message = refusal(folder, text)
    assert f'folder {folder / "train/star"} of train holds no image' in message
    assert "class 'star' cannot be learnt. Put images into it, or delete the folder" in message


def test_a_folder_that_is_no_listed_class_may_be_empty(folder):
    (folder / 'train/annotations').mkdir()
    assert len(prepare(folder, SOURCES + NAMES)['train'].images) == 6


def test_an_empty_class_folder_of_val_is_a_remark(folder):
    shutil.rmtree(folder / 'val/circle')
    (folder / 'val/circle').mkdir()
    (note,) = prepare(folder)['val'].notes
    assert "so class 'circle' cannot be measured" in note


def test_a_class_without_images_in_val_is_a_remark(folder):
    shutil.rmtree(folder / 'val/circle')
    val = prepare(folder)['val']
    assert val.notes == ("class 'circle' has no image in val; its accuracy is not measured",)
    assert val.counts.tolist() == [0, 2, 2]


def test_a_class_that_train_lacks_is_refused(folder):
    (folder / 'val/circle').rename(folder / 'val/Circle ')
    message = refusal(folder)
    assert "class 'Circle ' of val (2 image(s), first " in message
    assert 'has no image in train of' in message
    assert "(but 'circle': a difference in writing?), so it cannot be learnt" in message


def test_a_random_split_leaves_an_image_of_every_class_in_train(folder):
    for seed in range(8):
        text = f'data: {{images: train}}\nsplit: {{val: 0.5, seed: {seed}}}'
        assert prepare(folder, text)['train'].counts.tolist() == [1, 1, 1]
        (folder / 'mine.split.json').unlink()
    message = refusal(folder, 'data: {images: train}\nsplit: {val: 0.4, test: 0.4}')
    assert '6 image(s) are too few to be split' in message
    assert 'one for every part at least, and for train one of every class' in message


def test_a_class_that_is_not_listed_is_refused(folder):
    message = refusal(folder, SOURCES + 'classes: [circle, square]')
    assert "class 'triangle' of train (2 image(s), first " in message
    assert 'is not under classes: of' in message
    assert "which names 'circle', 'square'. Add it there, or take its images away" in message


def test_a_listed_class_without_images_is_refused(folder):
    message = refusal(folder, SOURCES + 'classes: [circle, square, triangle, star]')
    assert "class 'star' has no image in train of" in message
    assert 'Add images, or take it from classes:.' in message


def test_one_class_is_refused(folder):
    for name in CLASSES[1:]:
        shutil.rmtree(folder / 'train' / name)
    message = refusal(folder, splits=('train',))
    assert "has images of one class only, 'circle': nothing to tell apart" in message


def test_images_in_two_splits_are_refused(folder):
    message = refusal(folder, 'train: {images: train}\nval: {images: train}')
    assert '6 image(s) are in train and in val' in message


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', 'it is empty (0 bytes)'),
        (b'no image', 'cannot identify image file'),
        (0.6, 'truncated'),
        (0.999, 'its end is missing'),
    ],
)
def test_an_unreadable_image_is_refused_by_name(folder, content, message):
    whole = first(folder).read_bytes()
    cut = content if isinstance(content, bytes) else whole[: int(len(whole) * content)]
    first(folder).write_bytes(cut)
    refused = refusal(folder)
    assert f'image {first(folder)} cannot be read: ' in refused
    assert message in refused
    assert '(1 of 6 images of train cannot be read), or write skip_unreadable: true' in refused


def test_a_cut_jpeg_is_unreadable(folder):
    path = first(folder).with_suffix('.jpg')
    Image.open(first(folder)).resize((300, 300)).save(path)
    first(folder).unlink()
    whole = path.read_bytes()
    path.write_bytes(whole + b'\0' * 100)  # more behind the end is no damage
    prepare(folder)
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert f'image {path} cannot be read: OSError: image file is truncated' in refusal(folder)


def test_unreadable_images_are_left_out_and_counted_if_asked(folder):
    first(folder).write_bytes(b'no image')
    train = prepare(folder, SOURCES + 'skip_unreadable: true')['train']
    assert len(train.images) == 5
    assert train.counts.tolist() == [1, 2, 2]
    (note,) = train.notes
    assert f'image {first(folder)} cannot be read' in note
    assert '1 of 6 images of train are left out' in note


def test_a_class_whose_images_are_all_left_out_is_refused(folder):
    for path in (folder / 'train/circle').iterdir():
        path.write_bytes(b'no image')
    message = refusal(folder, SOURCES + 'skip_unreadable: true')
    assert "class 'circle' has no image that can be read in train" in message


# Remarks


def test_images_beside_the_class_folders_are_named(folder):
    shutil.copy(first(folder), folder / 'train/stray.png')
    train = prepare(folder)['train']
    (note,) = train.notes
    assert f'{folder / "train/stray.png"} lies beside the folders of the classes' in note
    assert len(train.images) == 6


def test_an_image_with_two_labels_is_named(folder):
    shutil.copy(first(folder), folder / 'train/square/copy.png')
    (note,) = prepare(folder)['train'].notes
    assert "train/circle/0000.png is 'circle', train/square/copy.png is 'square'" in note


def test_folders_of_splits_are_not_taken_for_classes_without_a_word(folder):
    (folder / 'all').mkdir()
    for name in ('train', 'val'):
        shutil.copytree(folder / name, folder / 'all' / name)
    prepared = prepare(folder, 'data: {images: all}\nsplit: {val: 0.3}')
    assert prepared['train'].classes == ('train', 'val')
    (note,) = [text for text in prepared['train'].notes if 'the classes are called' in text]
    assert 'train: {images: .../train}, val: {images: .../val}' in note


def test_classes_that_differ_in_case_only_are_named(folder):
    for name in ('train', 'val'):
        (folder / name / 'square').rename(folder / name / 'Circle')
    assert "classes 'Circle' and 'circle' differ in case or blanks only" in (
        prepare(folder)['train'].notes
    )


# Dataset and configs

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32), dict(type='PackInputs')]


def config(kind='ImageClassifier'):
    """A config of mmpretrain for a thousand classes, one dataset wrapped."""
    dataset = dict(type='ImageNet', data_root='x', split='train', pipeline=PIPELINE)
    accuracy = dict(type='Accuracy', topk=(1, 5))
    return Config(
        dict(
            default_scope='mmpretrain',
            model=dict(
                type=kind,
                data_preprocessor=dict(num_classes=1000),
                head=dict(
                    num_classes=1000,
                    topk=(1, 5),
                    loss=dict(type='LabelSmoothLoss', num_classes=1000),
                ),
            ),
            data_preprocessor=dict(num_classes=1000, to_rgb=True),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset)),
            val_dataloader=dict(dataset=dict(dataset, test_mode=True)),
            test_dataloader=dict(dataset=dict(dataset)),
            val_evaluator=accuracy,
            test_evaluator=[accuracy, dict(type='SingleLabelMetric', num_classes=1000)],
        )
    )


def applied(folder, classes=None, cfg=None):
    cfg = cfg or config()
    check_config(cfg)
    splits = ('train', 'val', 'test')
    data = read_dataset(folder / 'dataset.yaml')
    prepared = prepare_dataset(data, splits, folder / 'prepared')
    apply_splits(cfg, data, prepared, classes)
    return cfg, prepared


def test_a_config_reads_the_data_through_its_pipelines_and_wrappers(folder):
    cfg, prepared = applied(folder)
    train = build(cfg.train_dataloader.dataset)
    assert (type(train).__name__, len(train)) == ('RepeatDataset', 12)
    assert cfg.val_dataloader.dataset.test_mode
    for split in ('val', 'test'):
        dataset = build(cfg[f'{split}_dataloader'].dataset)
        assert isinstance(dataset, ClassDataset)
        assert dataset.metainfo['classes'] == CLASSES
        samples = [item['data_samples'] for item in dataset]
        assert [(s.img_path, int(s.gt_label)) for s in samples] == list(prepared[split].images)
        assert dataset[0]['inputs'].shape == (3, 32, 32)
    assert 'casvit_mm.classification' in cfg.custom_imports.imports


def test_the_number_of_classes_is_set_wherever_it_stands(folder):
    cfg, _ = applied(folder)
    assert cfg.model.head.num_classes == cfg.model.head.loss.num_classes == 3
    assert cfg.data_preprocessor.num_classes == cfg.model.data_preprocessor.num_classes == 3
    assert cfg.test_evaluator[1].num_classes == 3


def test_no_more_best_classes_are_counted_than_there_are(folder):
    cfg, _ = applied(folder)
    assert cfg.model.head.topk == cfg.val_evaluator.topk == cfg.test_evaluator[0].topk == (1,)


def test_classes_of_a_checkpoint_must_be_those_of_the_data(folder):
    applied(folder, CLASSES)
    with pytest.raises(InputError, match='the same names in another order'):
        applied(folder, CLASSES[::-1])
    with pytest.raises(InputError, match=r"only the data has \['triangle'\], only the .*'star'"):
        applied(folder, ('circle', 'square', 'star'))


def test_weights_for_other_classes_are_refused(folder):
    cfg = config()
    cfg.model.head.loss = dict(type='CrossEntropyLoss', class_weight=[1.0] * 1000)
    with pytest.raises(InputError, match=r'CrossEntropyLoss .* class_weight for 1000 classes'):
        applied(folder, cfg=cfg)


def test_a_config_of_another_task_is_refused():
    with pytest.raises(InputError, match=r"has a model 'RetinaNet'\. Use a classification config"):
        check_config(config('RetinaNet'))


class SizedIndex(int):
    """As a sampler that draws a size for each batch yields it."""

    size = 96


def test_the_size_that_a_sampler_asks_for_reaches_the_pipeline(folder):
    dataset = ClassDataset(str(prepare(folder)['train'].file), pipeline=[dict])
    assert dataset[SizedIndex(2)]['sample_idx'].size == 96
    assert dataset[SizedIndex(2)]['img_path'] == dataset[2]['img_path']


def test_labels_can_be_asked_for_without_reading_images(folder):
    dataset = ClassDataset(str(prepare(folder)['train'].file))
    assert [dataset.get_cat_ids(i) for i in range(6)] == [[0], [0], [1], [1], [2], [2]]


# The report


def test_the_report_counts_and_draws_a_sound_set(folder, capsys):
    assert check_dataset(folder / 'dataset.yaml', folder / 'out')
    assert capsys.readouterr().out.startswith('YES: training can start')
    report = json.loads((folder / 'out/report.json').read_text())
    assert report['splits']['train']['images_per_class'] == dict.fromkeys(CLASSES, 2)
    assert report['splits']['test']['images'] == 3
    samples = [f'samples_{name}.png' for name in ('train', 'val', 'test')]
    assert report['pictures'] == ['classes.png', *samples]
    assert all((folder / 'out' / name).stat().st_size > 10_000 for name in report['pictures'])


def test_the_report_lists_every_defect(folder, capsys):
    first(folder).write_bytes(b'no image')
    (folder / 'val/star').mkdir()
    shutil.copy(folder / 'train/circle/0003.png', folder / 'val/star/new.png')
    assert not check_dataset(folder / 'dataset.yaml', folder / 'out')
    report = json.loads((folder / 'out/report.json').read_text())
    found = {(d['split'], d['kind'], d['where'], d['fatal']) for d in report['defects']}
    assert found == {
        ('train', 'unreadable image', 'train/circle/0000.png', True),
        ('train', 'image with two labels', 'train/circle/0003.png', False),
        ('train', 'image in two splits', 'train/circle/0003.png', False),
        ('val', 'class that train lacks', "'star'", True),
    }
    assert 'NO: training would refuse this data; 2 places stop it.' in capsys.readouterr().out


def test_a_fast_check_reads_no_image(folder):
    first(folder).write_bytes(b'no image')
    assert check_dataset(folder / 'dataset.yaml', folder / 'out', read_images=False)
    assert not list((folder / 'out').glob('samples_*'))


def test_what_is_for_detection_alone_is_refused(folder):
    with pytest.raises(InputError, match=r'--fix is for detection data, and .* image folders'):
        check_dataset(folder / 'dataset.yaml', folder / 'out', fix=folder / 'clean')
    with pytest.raises(InputError, match='--config is for detection data'):
        check_dataset(folder / 'dataset.yaml', folder / 'out', config='a.py')


# Generated data


def test_generated_classes_are_drawn_evenly_and_alike_for_one_seed(tmp_path):
    ours = generate_shape_classes(tmp_path / 'a', sizes=(7, 3, 3), side=32, seed=5).parent
    again = generate_shape_classes(tmp_path / 'b', sizes=(7, 3, 3), side=32, seed=5).parent
    images = sorted(path.relative_to(ours) for path in ours.rglob('*.png'))
    assert len(images) == 13
    assert [len(list((ours / 'train' / name).iterdir())) for name in CLASSES] == [3, 2, 2]
    assert all((ours / path).read_bytes() == (again / path).read_bytes() for path in images)
    assert len({(ours / path).read_bytes() for path in images}) == 13
