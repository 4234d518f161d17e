"""Datasets as tools write them are told by their content, each by one format alone."""

import base64
import io
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.description import described_task, read_fields
from casvit_mm.datasets.files import describe_unused
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.outlines import decode_segmentation
from casvit_mm.datasets.formats.registry import read_source

SIZE = (80, 40)  # width and height
VOC = (
    '<annotation><filename>{0}</filename><object><name>car</name><bndbox><xmin>1</xmin>'
    '<ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object></annotation>'
)


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new('RGB', SIZE).save(path)


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def coco(name='a.jpg', **image_fields):
    return dict(
        annotations=[dict(id=1, image_id=1, category_id=1, bbox=[1, 2, 3, 4], area=12, iscrowd=0)],
        images=[dict(dict(id=1, file_name=name, width=80, height=40), **image_fields)],
        categories=[dict(id=1, name='car')],
    )


def roboflow(root):
    for split in ('train', 'valid', 'test'):
        image(root / split / f'{split}.jpg')
        write(root / split / '_annotations.coco.json', coco(f'{split}.jpg'))


def cvat_coco(root):
    for split in ('train', 'val'):
        image(root / 'images' / split / 'a.jpg')
        write(root / f'annotations/instances_{split}.json', coco())
        write(root / f'annotations/captions_{split}.json', coco())


def official(root):
    for split in ('train2017', 'val2017'):
        image(root / split / 'a.jpg')
        write(root / f'annotations/instances_{split}.json', coco())


def voc(root):
    for name in ('a', 'b'):
        image(root / f'JPEGImages/{name}.jpg')
        write(root / f'Annotations/{name}.xml', VOC.format(name))
    write(root / 'ImageSets/Main/train.txt', 'a\n')
    write(root / 'ImageSets/Main/val.txt', 'b\n')


def voc_beside(root):
    for split in ('train', 'valid'):
        image(root / split / 'a.jpg')
        write(root / split / 'a.xml', VOC.format('a'))


BOXES = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n'


def open_images(root):
    for split in ('train', 'validation'):
        image(root / split / 'a1.jpg')
        rows = 'a1,x,/m/01,1,0.25,0.5,0.5,1,0,0\na1,x,/m/02,1,0,1,0,1,0,1\n'
        rows += 'gone,x,/m/01,1,0,1,0,1,0,0\n'
        write(root / f'{split}-annotations-bbox.csv', BOXES + rows)
    write(root / 'class-descriptions-boxable.csv', '/m/01,Car\n/m/02,"Dog, wild"\n')


def fiftyone(root):
    for split in ('train', 'validation'):
        image(root / split / 'data/a1.jpg')
        write(root / split / 'labels/detections.csv', BOXES + 'a1,x,/m/01,1,0,1,0,1,0,0\n')
        write(root / split / 'metadata/classes.csv', '/m/01,Car\n')


def lvis(root):
    for split in ('train', 'val'):
        content = coco(
            coco_url=f'http://images.cocodataset.org/{split}2017/a.jpg',
            neg_category_ids=[],
            not_exhaustive_category_ids=[1],
        )
        del content['images'][0]['file_name'], content['annotations'][0]['iscrowd']
        content['categories'][0].update(synset='car.n.01', frequency='f')
        image(root / f'{split}2017/a.jpg')
        write(root / f'lvis_v1_{split}.json', content)


def bitmap():
    mask = np.zeros((2, 3, 4), dtype=np.uint8)
    mask[:, 1:] = 255
    png = io.BytesIO()
    Image.fromarray(mask).save(png, 'PNG')
    return base64.b64encode(zlib.compress(png.getvalue())).decode()


def supervisely(root):
    shapes = dict(car='polygon', road='line', dog='any')
    write(root / 'meta.json', dict(classes=[dict(title=t, shape=s) for t, s in shapes.items()]))
    square = [[10, 10], [20, 10], [20, 20], [10, 20]]
    hole = [[12, 12], [16, 12], [16, 16], [12, 16]]
    whole, holed = (dict(exterior=square, interior=holes) for holes in ([], [hole]))
    objects = [
        dict(classTitle='car', geometryType='polygon', points=whole),
        dict(classTitle='car', geometryType='polygon', points=holed),
        dict(classTitle='dog', geometryType='rectangle', points=dict(exterior=[[4, 5], [8, 6]])),
        dict(classTitle='dog', geometryType='bitmap', bitmap=dict(data=bitmap(), origin=[30, 7])),
        dict(classTitle='road', geometryType='line', points=dict(exterior=square)),
    ]
    for split in ('train', 'val'):
        image(root / split / 'img/a.jpg')
        content = dict(size=dict(width=80, height=40), objects=objects)
        write(root / split / 'ann/a.jpg.json', content)


def classes(root):
    for split in ('train', 'val', 'test'):
        for name in ('cat', 'dog'):
            image(root / split / name / f'{split}.jpg')


CASES = {
    'COCO': (roboflow, {'train', 'val', 'test'}),
    'COCO of CVAT': (cvat_coco, {'train', 'val'}),
    'COCO itself': (official, {'train', 'val'}),
    'Pascal VOC': (voc, {'train', 'val'}),
    'Pascal VOC of Roboflow': (voc_beside, {'train', 'val'}),
    'Open Images': (open_images, {'train', 'val'}),
    'Open Images of FiftyOne': (fiftyone, {'train', 'val'}),
    'LVIS': (lvis, {'train', 'val'}),
    'Supervisely': (supervisely, {'train', 'val'}),
    'image folders': (classes, {'train', 'val', 'test'}),
}


@pytest.mark.parametrize('case', CASES)
def test_a_folder_as_a_tool_wrote_it_is_one_format_with_its_splits(tmp_path, case):
    build, splits = CASES[case]
    build(tmp_path)
    found = read_fields(tmp_path)
    assert case.startswith(found.notes[0].removeprefix('read as '))
    assert set(found.fields) & {'train', 'val', 'test', 'data'} == splits
    task = 'classification' if build is classes else 'detection'
    assert described_task(tmp_path) == task
    if task == 'detection':
        for content in read(found.fields):
            assert len(content['images']) == 1
            assert content['annotations']


@pytest.mark.parametrize('case', CASES)
def test_a_folder_that_is_named_from_where_one_stands_has_the_same_places(
    tmp_path, monkeypatch, case
):
    CASES[case][0](tmp_path / 'photos')
    absolute = read_fields(tmp_path / 'photos')
    monkeypatch.chdir(tmp_path)
    assert read_fields('photos').fields == absolute.fields


def read(fields):
    for split in ('train', 'val'):
        (source,) = fields[split]
        paths = {key: source[key] for key in ('annotations', 'images')}
        yield load(**paths, listed=source.get('list')).content


def load(annotations, images, listed=None):
    names = None if listed is None else tuple(Path(listed).read_text().split())
    paths = Path(annotations), Path(images)
    return read_source(SourceFiles(*paths, image_list=listed, listed=names))[1]


def test_one_file_of_coco_is_a_set_that_is_split(tmp_path):
    image(tmp_path / 'images/a.jpg')
    write(tmp_path / 'all.json', coco())
    for path in (tmp_path, tmp_path / 'all.json'):
        found = read_fields(path)
        assert found.fields['data'][0]['images'] == str(tmp_path / 'images')
        assert found.fields['split'] == dict(val=0.2, seed=0)


def test_files_of_coco_that_no_name_tells_apart_are_refused(tmp_path):
    image(tmp_path / 'a.jpg')
    for name in ('first', 'second'):
        write(tmp_path / f'{name}.json', coco())
    with pytest.raises(InputError, match=r'several files of COCO, first\.json and'):
        read_fields(tmp_path)


def test_coco_whose_images_are_nowhere_is_refused_with_the_way_to_name_them(tmp_path):
    write(tmp_path / 'all.json', coco())
    with pytest.raises(InputError, match=r"first image 'a.jpg' is neither .* images: in a dataset"):
        read_fields(tmp_path)


def test_boxes_of_open_images_are_shares_and_groups_are_crowds(tmp_path):
    open_images(tmp_path)
    found = load(tmp_path / 'train-annotations-bbox.csv', tmp_path / 'train')
    car, dog = found.content['annotations']
    assert (car['bbox'], car['area'], car['iscrowd']) == ([20, 20, 20, 20], 400, 0)
    assert (dog['bbox'], dog['iscrowd']) == ([0, 0, 80, 40], 1)
    assert [c['name'] for c in found.content['categories']] == ['Car', 'Dog, wild']
    assert '1 image(s) of the table are not in' in found.skipped[0][1]
    (tmp_path / 'class-descriptions-boxable.csv').unlink()
    found = load(tmp_path / 'train-annotations-bbox.csv', tmp_path / 'train')
    assert [c['name'] for c in found.content['categories']] == ['/m/01', '/m/02']
    assert 'called by their codes' in found.skipped[-1][1]


@pytest.mark.parametrize('value', ['1,5', '2', 'nan', ''])
def test_a_row_of_open_images_that_is_no_box_is_named(tmp_path, value):
    open_images(tmp_path)
    path = tmp_path / 'train-annotations-bbox.csv'
    path.write_text(f'{BOXES}a1,x,/m/01,1,0,"{value}",0,1,0,0\n')
    ((place, _),) = load(path, tmp_path / 'train').unreadable
    assert place == f'{path.name}, line 2'


MASKS = 'MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n'


def open_images_masks(root, place='', size=(80, 40)):
    """Write, beside the boxes, the masks of one object of each split: that of the left half."""
    open_images(root)
    for split in ('train', 'validation'):
        rows = f'{split}_a1.png,a1,/m/01,b1,0.250000,0.500000,0.5000,1.0000,0,\n'
        rows += 'none.png,gone,/m/01,b2,0,1,0,1,0,\n'
        write(root / f'{split}-annotations-object-segmentation.csv', MASKS + rows)
        path = root / place / f'{split}_a1.png'
        path.parent.mkdir(exist_ok=True, parents=True)
        mask = np.zeros(size[::-1], dtype=np.uint8)
        mask[size[1] // 2 :, size[0] // 4 : size[0] // 2 - size[0] // 20] = 1
        Image.fromarray(mask).save(path)


@pytest.mark.parametrize(('place', 'size'), [('', (80, 40)), ('train-masks-a', (40, 20))])
def test_objects_of_open_images_have_the_masks_of_the_table_beside(tmp_path, place, size):
    open_images_masks(tmp_path, place, size)
    fields = read_fields(tmp_path).fields
    assert [Path(s['annotations']).name for s in (*fields['train'], *fields['val'])] == [
        'train-annotations-bbox.csv',
        'validation-annotations-bbox.csv',
    ]
    assert Path(fields['train'][0]['images']).name == 'train'
    found = load(fields['train'][0]['annotations'], fields['train'][0]['images'])
    car, dog = found.content['annotations']
    assert (car['bbox'], car['area'], car['iscrowd']) == ([20, 20, 16, 20], 320, 0)
    mask = decode_segmentation(car['segmentation'], 80, 40)
    assert mask[20:, 20:36].all()
    assert mask.sum() == 320
    assert 'segmentation' not in dog
    notes = ' '.join(note for _, note in found.skipped)
    assert '1 object(s) have a box alone, 1 the mask of train-annotations-object-segm' in notes
    assert ('1 mask(s) are of another size' in notes) == bool(place)


def test_a_table_of_masks_may_stand_alone_as_cvat_lays_it_out(tmp_path):
    open_images_masks(tmp_path)
    for split in ('train', 'validation'):
        (tmp_path / f'{split}-annotations-bbox.csv').unlink()
        for name, folder in (
            (f'{split}-annotations-object-segmentation.csv', 'annotations'),
            (f'{split}_a1.png', f'masks/{split}'),
        ):
            (tmp_path / folder).mkdir(exist_ok=True, parents=True)
            # Names of masks that occur in both splits.
            (tmp_path / name).rename(tmp_path / folder / name.replace('validation_a1', 'train_a1'))
    Image.new('L', (80, 40)).save(tmp_path / 'masks/train/train_a1.png')  # whose mask is empty
    table = tmp_path / 'annotations/validation-annotations-object-segmentation.csv'
    table.write_text(table.read_text().replace('validation_a1', 'train_a1'))
    fields = read_fields(tmp_path).fields
    (ours,) = load(fields['val'][0]['annotations'], tmp_path / 'validation').content['annotations']
    assert ours['area'] == 320
    found = load(fields['train'][0]['annotations'], tmp_path / 'train')
    assert [text.partition(' is ')[2] for _, text in found.unreadable] == ['a mask without a pixel']


@pytest.mark.parametrize('damage', ['missing', 'cut'])
def test_a_mask_of_open_images_that_cannot_be_read_is_named(tmp_path, damage):
    open_images_masks(tmp_path)
    mask = tmp_path / 'train_a1.png'
    mask.write_bytes(mask.read_bytes()[:40])
    if damage == 'missing':
        mask.unlink()
    ((place, message),) = load(
        tmp_path / 'train-annotations-bbox.csv', tmp_path / 'train'
    ).unreadable
    assert place == 'train-annotations-bbox.csv, line 2'
    assert 'train_a1.png' in message


def test_a_table_of_masks_without_its_columns_is_refused_not_left_out(tmp_path):
    open_images_masks(tmp_path)
    table = tmp_path / 'train-annotations-object-segmentation.csv'
    table.write_text(table.read_text().replace('MaskPath', 'Mask', 1))
    with pytest.raises(InputError, match=r'segmentation\.csv, beside .* lacks one of .*MaskPath'):
        load(tmp_path / 'train-annotations-bbox.csv', tmp_path / 'train')


def test_images_of_lvis_are_found_by_their_address_and_its_gaps_are_told(tmp_path):
    lvis(tmp_path)
    for images, name in ((tmp_path, 'train2017/a.jpg'), (tmp_path / 'train2017', 'a.jpg')):
        found = load(tmp_path / 'lvis_v1_train.json', images)
        assert found.content['images'][0]['file_name'] == name
    assert '1 image(s) have categories of which not all objects' in found.skipped[0][1]


def test_shapes_of_supervisely(tmp_path):
    supervisely(tmp_path)
    found = load(tmp_path / 'train', tmp_path / 'train/img')
    polygon, holed, box, brush = found.content['annotations']
    assert polygon['segmentation'] == [[10, 10, 20, 10, 20, 20, 10, 20]]
    assert (polygon['area'], holed['area']) == (100, 100 - 16)
    assert (box['bbox'], box['area']) == ([4, 5, 5, 2], 10)
    assert (brush['bbox'], brush['area']) == ([31, 7, 2, 2], 4)
    assert [c['name'] for c in found.content['categories']] == ['car', 'dog']
    assert '1 line; first a.jpg.json, object 5' in found.skipped[0][1]


@pytest.mark.parametrize(
    'change',
    [
        dict(geometryType='rectangle', points=dict(exterior=[[1, 2]])),
        dict(geometryType='bitmap', bitmap=dict(data='AAAA', origin=[0, 0])),
        dict(geometryType='polygon', points=dict(exterior=[[1, '2,5'], [3, 4], [5, 6]])),
        dict(geometryType='polygon'),
        dict(geometryType='alpha_mask'),
    ],
)
def test_an_object_of_supervisely_that_is_none_is_named(tmp_path, change):
    supervisely(tmp_path)
    content = dict(size=dict(width=80, height=40), objects=[dict(classTitle='car', **change)])
    write(tmp_path / 'train/ann/a.jpg.json', content)
    found = load(tmp_path / 'train', tmp_path / 'train/img')
    assert [place for place, _ in found.unreadable] == ['a.jpg.json, object 1']


@pytest.mark.parametrize('parts', [('images', 'masks'), ('cat',)])
def test_parts_of_a_dataset_are_no_classes(tmp_path, parts):
    for name in parts:
        image(tmp_path / name / 'a.jpg')
    with pytest.raises(InputError, match=r'of no known format\. It holds'):
        read_fields(tmp_path)


def test_the_record_of_a_split_changes_nothing_in_what_a_folder_is(tmp_path):
    for name in ('cat', 'dog'):
        image(tmp_path / name / 'a.jpg')
    before = read_fields(tmp_path)
    write(tmp_path / 'dataset.split.json', {})
    assert read_fields(tmp_path) == before
    assert list(describe_unused([tmp_path], lambda path: path.suffix == '.jpg')) == []
