"""The check of data reports alike, whatever the task."""

import json
from pathlib import Path

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')
from casvit_mm.datasets.shapes import (
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.engine.data_check import check_dataset

RECIPES = ('rtmdet_ins_casvit_xs_photos', 'segformer_casvit_xs_light', 'casvit_xs_light')
SOURCES = {
    generate_shapes: '{annotations: train.json, images: train}',
    generate_shape_labels: '{images: train, labels: train_labels}',
    generate_shape_classes: '{images: train}',
}
FOLDERS = {generate_shape_classes: 'train/circle'}
CLASSES = 'classes: [ground, circle, square, triangle]\n'


@pytest.fixture
def sets(tmp_path):
    """By generator, a folder whose ``one.yaml`` takes one set apart."""
    found = {}
    for generate, source in SOURCES.items():
        folder = generate(tmp_path / generate.__name__, sizes=(9, 1, 1), side=32).parent
        text = f'data: {source}\nsplit: {{val: 0.4}}\n'
        text += CLASSES if generate is generate_shape_labels else ''
        (folder / 'one.yaml').write_text(text)
        found[generate] = folder
    return found


def check(folder, capsys):
    trainable = check_dataset(folder / 'one.yaml', folder / 'out')
    return trainable, json.loads((folder / 'out/report.json').read_text()), capsys.readouterr().out


def test_reports_have_the_same_fields_sections_and_pictures(sets, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where there are no weights
    found = [check(folder, capsys) for folder in sets.values()]
    assert [trainable for trainable, _, _ in found] == [True] * 3
    first, *others = (report for _, report, _ in found)
    assert all(list(report) == list(first) for report in others)
    for recipe, folder, (_, report, printed) in zip(RECIPES, sets.values(), found, strict=True):
        assert f'Judged by casvit_mm::{recipe}.py' in printed
        # The recipe of a classifier names no weights.
        scratch = '' if recipe == 'casvit_xs_light' else ' --from-scratch'
        assert f'train casvit_mm::{recipe}.py --data {folder}/one.yaml{scratch}\n' in printed
        assert report['notes'][-1].startswith('split: images of each class, train/val: ')
        assert report['notes'][-1] in printed.replace('\n', ' ')
        for section in ('YES: training can start', 'Issues', 'Splits', 'Fit', 'Pictures and'):
            assert section in printed
        for split in report['splits'].values():
            assert {'images', 'unreadable', 'width', 'height', 'images_per_class'} <= set(split)
            assert split['width'] == split['height'] == [32, 32, 32]
        assert {'classes.png', 'samples_train.png', 'samples_val.png'} <= set(report['pictures'])
        assert {'rare class'} <= {entry['kind'] for entry in report['defects']}


def test_training_is_proposed_from_weights_that_are_there(sets, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path('checkpoints').mkdir()
    Path('checkpoints/cas-vit-xs.pth').touch()
    folder = sets[generate_shape_labels]
    printed = check(folder, capsys)[2]
    assert f'train casvit_mm::segformer_casvit_xs_light.py --data {folder}/one.yaml\n' in printed


def test_issues_of_image_files_are_the_same(sets, capsys):
    for generate, folder in sets.items():
        images = sorted((folder / FOLDERS.get(generate, 'train')).iterdir())
        images[0].write_bytes(images[0].read_bytes()[:-20])
        (images[0].parent / 'notes.txt').touch()
        trainable, report, printed = check(folder, capsys)
        assert not trainable
        assert sum(split['unreadable'] for split in report['splits'].values()) == 1
        assert {'unreadable image', 'files not used'} <= {d['kind'] for d in report['defects']}
        assert f'{images[0].name} cannot be read: its end is missing' in printed
