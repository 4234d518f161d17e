"""Datasets of every task are written in other formats, splits and all."""

import pytest

pytest.importorskip('mmdet')
pytest.importorskip('mmseg')
pytest.importorskip('mmpretrain')

from casvit_mm import InputError
from casvit_mm.datasets.description import described_task
from casvit_mm.datasets.shapes import (
    generate_shape_classes,
    generate_shape_labels,
    generate_shapes,
)
from casvit_mm.detection.data.convert import labelled_set
from casvit_mm.engine.convert import convert_data

SIZES = (3, 2, 1)


def test_a_detection_dataset_keeps_its_splits_and_says_what_is_lost(tmp_path, capsys):
    source = generate_shapes(tmp_path / 'shapes', sizes=SIZES, side=48)
    written = convert_data(source, 'voc', tmp_path / 'voc')
    assert written == tmp_path / 'voc/dataset.yaml'
    made, _ = labelled_set(written)
    old, _ = labelled_set(source)
    assert {n: len(i) for n, i in made.splits.items()} == dict(train=3, val=2, test=1)
    for one, other in zip(old.images(), made.images(), strict=True):
        for old, new in zip(one.objects, other.objects, strict=True):
            assert new['bbox'] == pytest.approx(old['bbox'], abs=1e-9)
    told = capsys.readouterr().out
    assert 'train: 3 images' in told
    assert 'not held by Pascal VOC:' in told
    assert 'outlines and masks; the boxes are written' in told


def test_regions_of_a_segmentation_dataset_become_objects(tmp_path, capsys):
    source = generate_shape_labels(tmp_path / 'shapes', sizes=SIZES, side=48)
    written = convert_data(source, 'coco', tmp_path / 'coco', link=True)
    assert described_task(written) == 'detection'
    made, _ = labelled_set(written)
    assert [c['name'] for c in made.categories] == ['ground', 'circle', 'square', 'triangle']
    assert all(one['segmentation']['counts'] for i in made.images() for one in i.objects)
    assert 'every connected region of a class became an object' in capsys.readouterr().out


def test_a_classification_dataset_becomes_folders(tmp_path):
    source = generate_shape_classes(tmp_path / 'shapes', sizes=SIZES, side=48)
    written = convert_data(source, 'yolo', tmp_path / 'out')
    assert described_task(written) == 'classification'
    assert len(list((tmp_path / 'out/train').glob('*/*.png'))) == len(
        list((tmp_path / 'shapes/train').glob('*/*.png'))
    )
    with pytest.raises(InputError, match='take one of yolo, labelme'):
        convert_data(source, 'coco', tmp_path / 'no')


def test_a_folder_that_exists_is_refused_before_anything_is_read(tmp_path):
    source = generate_shapes(tmp_path / 'shapes', sizes=SIZES, side=48)
    (tmp_path / 'shapes/train.json').write_text('broken')
    with pytest.raises(InputError, match='shapes exists; name another'):
        convert_data(source, 'coco', tmp_path / 'shapes')
    with pytest.raises(InputError, match='is not JSON'):
        convert_data(source, 'coco', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()
