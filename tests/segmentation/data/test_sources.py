"""Which mask belongs to which image."""

import json
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip('mmseg')
from segmentation_data import NAMES, SOURCES, first_label, prepare, refusal

from casvit_mm.segmentation.data.checks import inspect_dataset
from casvit_mm.segmentation.data.description import read_dataset

ONE_SET = (
    f'data: [{{images: train, labels: train_labels}}, {{images: val, labels: val_labels}}]\n{NAMES}'
)


def test_a_list_takes_names_with_and_without_suffix(folder):
    (folder / 'some.txt').write_text('0003.png\n\n0001\n')
    text = SOURCES.replace('train_labels', 'train_labels, list: some.txt') + NAMES
    pairs = prepare(folder, text)['train'].pairs
    assert [Path(pair.label).name for pair in pairs] == ['0001.png', '0003.png']


def test_suffixes_pair_names_that_differ_in_their_ends_in_folders_below(folder):
    # As Cityscapes has it: other files of the same image beside the mask.
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
        ('train\\\\0001.png\n', '0001 is there, and differs in backslashes for / and the folder'),
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


def names(split):
    return [Path(pair.image).relative_to(Path(pair.image).parents[1]) for pair in split.pairs]


def test_one_set_of_several_sources_is_taken_apart_and_the_split_is_kept(folder):
    text = ONE_SET + 'split: {val: 0.3, test: 0.15, seed: 1}\n'
    prepared = prepare(folder, text, ('train', 'val', 'test'))
    assert [len(prepared[name].pairs) for name in ('train', 'val', 'test')] == [4, 2, 1]
    drawn = {name: names(split) for name, split in prepared.items()}
    assert len({path for paths in drawn.values() for path in paths}) == 7
    assert set(json.loads((folder / 'mine.split.json').read_text())['test']) == {
        path.as_posix() for path in drawn['test']
    }
    assert names(prepare(folder, text, ('test',))['test']) == drawn['test']


def test_folds_of_the_listed_images_cover_each_once(folder):
    (folder / 'some.txt').write_text('0001\n0002\n0004\n')
    text = 'data: {images: train, labels: train_labels, list: some.txt}\n' + NAMES
    validated = []
    for fold in range(3):
        split = prepare(folder, text + f'split: {{folds: 3, fold: {fold}}}\n')
        (val,) = (path.name for path in names(split['val']))
        assert val not in [path.name for path in names(split['train'])]
        validated.append(val)
    assert sorted(validated) == ['0001.png', '0002.png', '0004.png']


def test_a_set_with_a_pair_missing_is_not_split_and_told_once(folder):
    first_label(folder).unlink()
    (folder / 'mine.yaml').write_text(ONE_SET + 'split: {val: 0.3}\n')
    inspection = inspect_dataset(read_dataset(folder / 'mine.yaml'), ('train', 'val'))
    assert [issue.kind for issue in inspection.issues['train']] == ['image without label']
    assert not inspection.issues['val']
    assert len(inspection.scans['train']) == 6
    assert not (folder / 'mine.split.json').exists()


def test_the_log_says_how_the_images_of_each_class_fell(folder):
    prepared = prepare(folder, ONE_SET + 'split: {val: 0.3}\n')
    (note,) = (n for n in prepared['train'].notes if n.startswith('split: images of each class'))
    assert re.search('train/val: .*ground [0-9]+/[0-9]+', note)
    assert not any(n.startswith('split: ') for n in prepared['val'].notes)
