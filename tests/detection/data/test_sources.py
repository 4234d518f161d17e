"""Descriptions beyond one COCO file per split: VOC, lists, several sources, classes."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip('mmdet')
from detection_data import corners, edit, objects_by_image, read

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import Annotations, Format
from casvit_mm.datasets.formats.registry import FORMATS
from casvit_mm.datasets.shapes import CLASSES, generate_shapes
from casvit_mm.detection.data.checks import inspect_dataset
from casvit_mm.detection.data.description import read_dataset
from casvit_mm.detection.data.prepare import prepare_dataset

VOC = """train: {annotations: xml, images: train, list: train.txt}
val: {annotations: xml, images: train, list: val.txt}
"""


@pytest.fixture
def folder(tmp_path):
    return generate_shapes(tmp_path, sizes=(8, 3, 2), side=64, seed=3).parent


@pytest.fixture
def voc(folder):
    """The train images of ``folder`` once more in VOC form, with lists for train and val."""
    content = read(folder / 'train.json')
    names = {category['id']: category['name'] for category in content['categories']}
    (folder / 'xml').mkdir()
    for image in content['images']:
        objects = ''
        for a in content['annotations']:
            if a['image_id'] == image['id']:
                x, y, w, h = a['bbox']
                objects += voc_object(names[a['category_id']], (x + 1, y + 1, x + 1 + w, y + 1 + h))
        stem = Path(image['file_name']).stem
        write_xml(folder / f'xml/{stem}.xml', objects)
    stems = [Path(image['file_name']).stem for image in content['images']]
    (folder / 'train.txt').write_text('\n'.join(stems[:6]) + '\n')
    (folder / 'val.txt').write_text('\n'.join(stems[6:]) + '\n')
    return folder


def voc_object(name, box, extra=''):
    keys = ('xmin', 'ymin', 'xmax', 'ymax')
    corners = ''.join(f'<{key}>{value}</{key}>' for key, value in zip(keys, box))
    return f'<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>'


def write_xml(path, objects, size='<size><width>64</width><height>64</height></size>'):
    path.write_text(f'<annotation><filename>{path.stem}.png</filename>{size}{objects}</annotation>')


def prepare(folder, text, splits=('train', 'val'), masks=False, classes=None):
    description = folder / 'mine.yaml'
    description.write_text(text)
    return prepare_dataset(read_dataset(description), splits, folder / 'prepared', masks, classes)


def test_voc_gives_the_objects_of_the_same_set_in_coco_form(voc):
    prepared = prepare(voc, VOC)
    expected = objects_by_image(voc / 'train.json')
    train = objects_by_image(prepared['train'].annotations)
    val = objects_by_image(prepared['val'].annotations)
    assert len(train) == 6
    assert len(val) == 2
    assert {**train, **val} == expected
    assert prepared['train'].summary.classes == CLASSES


def test_voc_without_a_list_takes_every_file(voc):
    (voc / 'val').rename(voc / 'other')
    shutil.copytree(voc / 'xml', voc / 'xml2')
    shutil.copytree(voc / 'train', voc / 'val')
    text = 'train: {annotations: xml, images: train}\nval: {annotations: xml2, images: val}'
    assert prepare(voc, text)['train'].summary.num_images == 8


def test_voc_objects_marked_difficult_are_not_counted(voc):
    box = (1, 1, 30, 30)
    hard = voc_object('circle', box, '<difficult>1</difficult>')
    write_xml(voc / 'xml/0001.xml', hard + voc_object('circle', box))
    annotations = read(prepare(voc, VOC)['train'].annotations)
    first = [a['iscrowd'] for a in annotations['annotations'] if a['image_id'] == 1]
    assert first == [1, 0]


def test_voc_files_may_end_in_capitals(voc):
    (voc / 'xml/0001.xml').rename(voc / 'xml/0001.XML')
    assert prepare(voc, VOC)['train'].summary.num_images == 6


def test_the_file_name_tells_apart_images_of_one_stem(voc):
    shutil.copy(voc / 'train/0001.png', voc / 'train/0001.jpg')
    prepared = prepare(voc, VOC)['train']  # the XML names the png
    assert '0001.png' in objects_by_image(prepared.annotations)
    path = voc / 'xml/0001.xml'
    path.write_text(path.read_text().replace('0001.png', 'C:\\data\\0001.jpg'))
    assert '0001.jpg' in objects_by_image(prepare(voc, VOC)['train'].annotations)
    path.write_text(path.read_text().replace('0001.jpg', 'other.bmp'))
    with pytest.raises(InputError, match=r'0001.xml may be about 0001.jpg or 0001.png'):
        prepare(voc, VOC)


def test_formats_beside_png_and_jpeg_are_learnt_refused_or_counted(voc):
    Image.open(voc / 'train/0001.png').save(voc / 'train/0001.jfif', format='JPEG')
    (voc / 'train/0001.png').unlink()
    (voc / 'train/0001.psd').touch()
    write_xml(voc / 'xml/0001.xml', voc_object('circle', (1, 1, 30, 30)))
    train = prepare(voc, VOC)['train']
    assert '0001.jfif' in objects_by_image(train.annotations)
    assert train.notes[0].endswith('1 .psd; first 0001.psd')
    (voc / 'train/0001.psd').unlink()
    (voc / 'train/0001.jfif').rename(voc / 'train/0001.heic')
    (voc / 'train/0001.heic').write_bytes(b'anything')
    with pytest.raises(InputError, match=r'0001.heic cannot be read: .heic is a format that'):
        prepare(voc, VOC)


def test_files_beside_coco_images_are_counted_unless_the_annotations_lie_there_too(folder):
    text = 'train: {annotations: train.json, images: %s}\nval: {annotations: val.json, images: val}'
    (folder / 'train/notes.txt').touch()
    assert prepare(folder, text % 'train')['train'].notes[0].endswith('1 .txt; first notes.txt')
    content = read(folder / 'train.json')
    for image in content['images']:
        image['file_name'] = f'train/{image["file_name"]}'
    (folder / 'train.json').write_text(json.dumps(content))
    assert prepare(folder, text % '.')['train'].notes == ()


def test_files_beside_voc_annotations_are_counted(voc):
    (voc / 'xml/notes.txt').write_text('')
    (note,) = prepare(voc, VOC)['train'].notes
    assert note.endswith('xml are not used: 1 .txt; first notes.txt')


def test_voc_sizes_that_are_absent_come_from_the_image(voc):
    write_xml(voc / 'xml/0001.xml', voc_object('circle', (1, 1, 30, 30)), size='')
    image = read(prepare(voc, VOC)['train'].annotations)['images'][0]
    assert (image['width'], image['height']) == (64, 64)


def test_voc_classes_of_a_checkpoint_keep_their_order(voc):
    trained = ('triangle', 'square', 'circle')
    prepared = prepare(voc, VOC, splits=('test',), classes=trained)
    assert prepared['test'].summary.classes == trained
    with pytest.raises(InputError, match='the checkpoint and val disagree'):
        prepare(voc, VOC, splits=('test',), classes=('square',))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda f: (f / 'xml/0002.xml').write_text('<annotation><obj'), '0002.xml is not XML'),
        (
            lambda f: (f / 'xml/0002.xml').write_text('<annotations><image/></annotations>'),
            r'0002.xml is CVAT\'s own XML.*Name this file, not its folder',
        ),
        (
            lambda f: (f / 'xml/0002.xml').write_text('<html/>'),
            '0002.xml is XML of another kind, with <html> at its root',
        ),
        (
            lambda f: shutil.copy(f / 'xml/0002.xml', f / 'xml/0002.XML'),
            '0002.XML and 0002.xml have one name',
        ),
        (lambda f: (f / 'xml/0002.xml').unlink(), r'0002.xml does not exist \(listed in .*train'),
        (
            lambda f: write_xml(f / 'xml/0002.xml', '<object><name>circle</name></object>'),
            r'0002.xml: object 1 \(circle\) has no <bndbox>',
        ),
        (
            lambda f: write_xml(f / 'xml/0002.xml', voc_object('circle', (1, 'a', 3, 4))),
            "has ymin 'a', not a number",
        ),
        (
            lambda f: write_xml(f / 'xml/0002.xml', voc_object(' ', (1, 2, 3, 4))),
            'object 1 has no <name>',
        ),
        (lambda f: (f / 'train/0002.png').unlink(), '1 of 6 images are missing .*0002.png'),
        (lambda f: (f / 'train.txt').unlink(), 'train.txt .* does not exist'),
        (lambda f: (f / 'train.txt').write_text('\n'), 'train.txt .* is empty'),
        (lambda f: (f / 'train.txt').write_text('0001\n0001\n'), "names '0001' twice"),
        (
            lambda f: write_xml(f / 'xml/0007.xml', voc_object('cirlce', (1, 2, 30, 40))),
            "class 'cirlce' occurs in another split but not in train",
        ),
        (
            lambda f: (f / 'val.txt').write_text('0001\n0008\n'),
            r'1 image\(s\) are in train and in val, first .*0001.png',
        ),
        (lambda f: shutil.rmtree(f / 'xml'), 'xml .* does not exist'),
    ],
)
def test_voc_issues_are_named_by_file_and_place(voc, change, message):
    change(voc)
    with pytest.raises(InputError, match=message):
        prepare(voc, VOC)


def test_several_broken_files_are_counted(voc):
    for stem in ('0002', '0003', '0004'):
        (voc / f'xml/{stem}.xml').write_text('no')
    with pytest.raises(InputError, match=r'0002.xml is not XML.* 2 more like it'):
        prepare(voc, VOC)


def yolo(folder):
    """The sets of ``folder`` as YOLO labels, with a data.yaml as Roboflow writes it."""
    names = list(CLASSES)
    for split in ('train', 'val'):
        content = read(folder / f'{split}.json')
        classes = {c['id']: names.index(c['name']) for c in content['categories']}
        (folder / f'yolo/{split}/labels').mkdir(parents=True)
        shutil.copytree(folder / split, folder / f'yolo/{split}/images')
        for image in content['images']:
            lines = []
            for a in content['annotations']:
                if a['image_id'] == image['id']:
                    x, y, w, h = (value / 64 for value in a['bbox'])
                    lines.append(f'{classes[a["category_id"]]} {x + w / 2} {y + h / 2} {w} {h}')
            file = folder / f'yolo/{split}/labels/{Path(image["file_name"]).stem}.txt'
            file.write_text('\n'.join(lines))
    text = f'train: ../train/images\nval: ../val/images\nnc: 3\nnames: {names}\n'
    (folder / 'yolo/data.yaml').write_text(text)
    return folder / 'yolo/data.yaml'


def test_yolo_gives_the_objects_of_the_same_set_in_coco_form(folder, tmp_path):
    data = read_dataset(yolo(folder))
    prepared = prepare_dataset(data, ('train', 'val'), tmp_path / 'prepared', with_masks=False)
    for split in ('train', 'val'):
        found = objects_by_image(prepared[split].annotations)
        assert found == objects_by_image(folder / f'{split}.json')
    assert prepared['train'].summary.classes == CLASSES


def test_names_of_yolo_labels_may_have_numbers_and_files_beside_are_counted(folder):
    path = yolo(folder)
    (path.parent / 'train/labels/old.json').write_text('')
    names = '{0: circle, 1: square, 2: triangle}'
    text = 'root: yolo\ntrain: {annotations: train/labels, images: train/images}\n'
    text += f'val: {{annotations: val/labels, images: val/images}}\nnames: {names}\n'
    prepared = prepare(folder, text)['train']
    assert prepared.summary.classes == CLASSES
    assert prepared.notes[0].endswith('labels are not used: 1 .json; first old.json')
    with pytest.raises(InputError, match='names must list the classes in the order'):
        prepare(folder, text.replace('2: tri', '3: tri'))


def test_masks_are_asked_for_where_voc_has_none(voc):
    with pytest.raises(InputError, match=r'0001.xml, object 1.*train boxes alone'):
        prepare(voc, VOC, masks=True)


def test_a_list_takes_images_of_a_coco_file_by_name_or_stem(folder):
    (folder / 'some.txt').write_text('0002\n0003.png\n')
    text = 'train: {annotations: train.json, images: train, list: some.txt}\n'
    prepared = prepare(folder, text + 'val: {annotations: val.json, images: val}')
    whole = objects_by_image(folder / 'train.json')
    taken = objects_by_image(prepared['train'].annotations)
    assert taken == {name: whole[name] for name in ('0002.png', '0003.png')}


def test_a_list_that_names_an_unknown_image_is_refused(folder):
    (folder / 'some.txt').write_text('0002\n0099\n')
    text = 'train: {annotations: train.json, images: train, list: some.txt}\n'
    with pytest.raises(InputError, match=r"some.txt: '0099' is not in .*train.json"):
        prepare(folder, text + 'val: {annotations: val.json, images: val}')


def test_several_sources_are_joined_with_ids_and_classes_kept_apart(voc):
    def renumber(path):
        content = read(path)
        content['categories'].reverse()
        for category in content['categories']:
            category['id'] += 10
        for annotation in content['annotations']:
            annotation['category_id'] += 10
        path.write_text(json.dumps(content))

    renumber(voc / 'val.json')
    text = """train:
  - {annotations: xml, images: train, list: train.txt}
  - {annotations: val.json, images: val}
val: {annotations: test.json, images: test}
"""
    prepared = prepare(voc, text)['train']
    content = read(prepared.annotations)
    classes = {c['id']: c['name'] for c in content['categories']}
    counts = Counter(classes[a['category_id']] for a in content['annotations'])
    expected = Counter()
    listed = (voc / 'train.txt').read_text().split()
    for name, objects in objects_by_image(voc / 'train.json').items():
        expected.update(c for c, _ in objects if Path(name).stem in listed)
    for objects in objects_by_image(voc / 'val.json').values():
        expected.update(c for c, _ in objects)
    assert counts == expected
    assert prepared.summary.num_images == 9
    assert all((prepared.images / image['file_name']).is_file() for image in content['images'])
    assert len({a['id'] for a in content['annotations']}) == len(content['annotations'])


def test_sources_that_annotate_different_categories_are_refused(folder):
    content = read(folder / 'val.json')
    content['categories'].append(dict(id=9, name='star'))
    (folder / 'val.json').write_text(json.dumps(content))
    text = """train:
  - {annotations: train.json, images: train}
  - {annotations: val.json, images: val}
val: {annotations: test.json, images: test}
"""
    with pytest.raises(InputError, match=r"\['star'\] are not in all of them.*background"):
        prepare(folder, text)
    assert prepare(folder, text + 'classes: [circle, square, triangle]\n')


def test_classes_rename_join_and_drop(folder):
    text = (folder / 'dataset.yaml').read_text() + 'classes: {angular: [square, triangle]}\n'
    prepared = prepare(folder, text, masks=True)['train']
    before = Counter(
        c for objects in objects_by_image(folder / 'train.json').values() for c, _ in objects
    )
    after = Counter(
        c for objects in objects_by_image(prepared.annotations).values() for c, _ in objects
    )
    assert after == {'angular': before['square'] + before['triangle']}
    assert prepared.dropped == {'circle': before['circle']}
    assert prepared.summary.classes == ('angular',)


def test_classes_join_categories_of_one_name(folder):
    def twice(content):
        content['categories'] = [dict(id=0, name='shape'), dict(id=1, name='shape')]
        for annotation in content['annotations']:
            annotation['category_id'] = 1

    for split in ('train', 'val', 'test'):
        edit(folder, twice, split)
    text = (folder / 'dataset.yaml').read_text()
    with pytest.raises(InputError, match=r"among them 'shape'. .*Roboflow.* classes: \[shape\]"):
        prepare(folder, text)
    prepared = prepare(folder, text + 'classes: [shape]\n')['train']
    assert prepared.summary.classes == ('shape',)
    assert prepared.summary.num_objects == len(read(folder / 'train.json')['annotations'])


def test_boxes_that_are_corners_are_read_as_such(folder):
    expected = objects_by_image(folder / 'train.json')
    corners(folder)
    text = (folder / 'dataset.yaml').read_text()
    with pytest.raises(InputError, match=r'look like corners .* boxes: corners in .*mine.yaml'):
        prepare(folder, text)
    for split in ('val', 'test'):
        corners(folder, split)
    prepared = prepare(folder, text + 'boxes: corners\n')
    assert objects_by_image(prepared['train'].annotations) == expected
    assert prepare(folder, text + 'boxes: sizes\n')


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('[circle, star]', "classes names 'star', which is no category"),
        ('{round: circle, angular: [sqare]}', "classes names 'sqare'"),
    ],
)
def test_classes_that_name_no_category_are_refused(folder, classes, message):
    text = (folder / 'dataset.yaml').read_text() + f'classes: {classes}\n'
    with pytest.raises(InputError, match=message):
        prepare(folder, text)


def test_classes_that_leave_a_class_empty_are_refused(folder, voc):
    content = read(folder / 'train.json')
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] != 1]
    (folder / 'train.json').write_text(json.dumps(content))
    text = (folder / 'dataset.yaml').read_text() + 'classes: {round: circle, rest: square}\n'
    with pytest.raises(InputError, match=r"leaves 'round' without an object in train .*circle"):
        prepare(folder, text)
    with pytest.raises(InputError, match="leaves 'star' without an object in train"):
        prepare(voc, VOC + 'classes: [circle, star]\n')


def test_objects_that_a_format_skips_are_told(tmp_path, monkeypatch):
    path = generate_shapes(tmp_path, sizes=(4, 2, 1), side=64, seed=1)
    told = [('train.json', '3 lines are not learnt')]
    real = FORMATS[0].read

    def read(files):
        found = real(files)
        return Annotations(found.content, skipped=told)

    form = Format('COCO', 'COCO', lambda path: True, lambda path: None, read)
    monkeypatch.setattr('casvit_mm.datasets.formats.registry.FORMATS', (form,))
    data = read_dataset(path)
    issues = inspect_dataset(data, None).issues['train']
    assert ('annotations not used', False) in [(d.kind, d.fatal) for d in issues]
    prepared = prepare_dataset(data, ('train', 'val'), tmp_path / 'out', with_masks=False)
    assert '3 lines are not learnt' in prepared['train'].notes
