"""Files laid out as the tools themselves write them, which differ from what documentation says.

Each is rebuilt here from what datumaro 1.13, supervision 0.31 and label-studio-sdk 2.1 wrote; boxes
are those that the same tool reads back.
"""

import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.classification.data.description import read_dataset as read_classes
from casvit_mm.datasets.description import read_fields
from casvit_mm.datasets.object_sources import load_split
from casvit_mm.detection.data.description import read_dataset

VOC = (
    '<annotation><filename>sub/{0}.jpg</filename><size><width>80</width><height>40</height></size>'
    '<object><name>cat</name><bndbox><xmin>10.0</xmin><ymin>12.25</ymin><xmax>30.5</xmax>'
    '<ymax>32.25</ymax></bndbox>{1}</object></annotation>'
)
CVAT = (
    '<annotations><meta><task><labels><label><name>cat</name></label></labels></task></meta>'
    '<image id="0" name="sub/{}.jpg" width="80" height="40">'
    '<box label="cat" xtl="10" ytl="12.25" xbr="30.5" ybr="32.25"/></image></annotations>'
)
LINE = '0 0.253125 0.55625 0.25625 0.5\n'
BOX = [10, 12.25, 20.5, 20]
SPLITS = ('train', 'val', 'test')


def save(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        Image.new('RGB', (80, 40)).save(path)
    else:
        path.write_text(content)


def darknet(root):
    save(
        root / 'obj.data',
        ''.join(f'{s} = data/{s}.txt\n' for s in SPLITS) + 'classes = 1\n'
        'names = data/obj.names\nbackup = backup/\n',
    )
    save(root / 'obj.names', 'cat\n')
    for split in SPLITS:
        save(root / f'obj_{split}_data/sub/{split}.jpg')
        save(root / f'obj_{split}_data/sub/{split}.txt', LINE)
        save(root / f'{split}.txt', f'data/obj_{split}_data/sub/{split}.jpg\n')


def cvat_of_datumaro(root):
    for split in SPLITS:
        save(root / f'images/sub/{split}.jpg')
        save(root / f'{split}.xml', CVAT.format(split))


def voc_of_datumaro(root):
    save(root / 'labelmap.txt', '# label:color_rgb:parts:actions\ncat:::\n')
    for split in SPLITS:
        save(root / f'JPEGImages/sub/{split}.jpg')
        save(root / f'JPEGImages/sub/{split} empty.jpg')
        save(root / f'Annotations/sub/{split}.xml', VOC.format(split, ''))
        save(root / f'ImageSets/Main/{split}.txt', f'sub/{split}\nsub/{split} empty\n')


def open_images_of_datumaro(root):
    header = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\n'
    for split in SPLITS:
        save(root / f'images/{split}/sub/{split}.jpg')
        row = f'sub/{split},,cat,1,0.125,0.38125,0.30625,0.80625,-1\n'
        save(root / f'annotations/{split}-annotations-bbox.csv', header + row)


@pytest.mark.parametrize(
    'write', [darknet, cvat_of_datumaro, voc_of_datumaro, open_images_of_datumaro]
)
def test_splits_and_boxes_are_those_that_the_tool_reads_itself(tmp_path, write):
    write(tmp_path)
    data = read_dataset(tmp_path)
    for split in SPLITS:
        content = load_split(data, split).content
        (one,) = content['annotations']
        assert one['bbox'] == pytest.approx(BOX, abs=1e-5)
        (image,) = (i for i in content['images'] if i['id'] == one['image_id'])
        assert image['file_name'].endswith(f'sub/{split}.jpg')
        assert len(content['images']) == (2 if write is voc_of_datumaro else 1)


def test_what_is_taken_of_cvats_voc_is_said(tmp_path):
    voc_of_datumaro(tmp_path)
    zero, without = (note for _, note in load_split(read_dataset(tmp_path), 'train').skipped)
    assert 'count from 0, as those of CVAT and Datumaro do (labelmap.txt)' in zero
    assert without.startswith('1 listed image(s) have no XML file')


def test_voc_without_a_label_map_counts_from_1_and_needs_every_file(tmp_path):
    voc_of_datumaro(tmp_path)
    (tmp_path / 'labelmap.txt').unlink()
    loaded = load_split(read_dataset(tmp_path), 'train')
    assert loaded.content['annotations'][0]['bbox'] == [9, 11.25, 20.5, 20]
    ((_, message),) = loaded.unreadable
    assert 'train empty.xml does not exist (listed in' in message


def test_outlines_that_supervision_adds_to_voc_are_counted(tmp_path):
    outline = '<polygon><x1>1</x1><y1>2</y1><x2>9</x2><y2>2</y2><x3>9</x3><y3>8</y3></polygon>'
    for name in 'ab':
        save(tmp_path / f'images/sub/{name}.jpg')
        save(tmp_path / f'annotations/sub/{name}.xml', VOC.format(name, outline))
    (tmp_path / 'dataset.yaml').write_text(
        'train: {annotations: annotations, images: images}\n'
        'val: {annotations: annotations, images: images}\n'
    )
    loaded = load_split(read_dataset(tmp_path / 'dataset.yaml'), 'train')
    assert [note[:39] for _, note in loaded.skipped] == ['the outlines of 2 object(s) (<polygon>)']


@pytest.mark.parametrize('given', ['', 'data.yaml'])
def test_a_data_yaml_of_supervision_names_classes_alone(tmp_path, given):
    save(tmp_path / 'data.yaml', 'nc: 1\nnames: [cat]\n')
    save(tmp_path / 'images/a b.jpg')
    save(tmp_path / 'labels/a b.txt', LINE)
    fields = read_fields(tmp_path / given).fields
    assert fields['names'] == ['cat']
    assert [source['images'] for source in fields['data']] == [str(tmp_path / 'images')]


def test_a_data_file_without_its_names_is_refused(tmp_path):
    darknet(tmp_path)
    (tmp_path / 'obj.names').unlink()
    with pytest.raises(InputError, match=r'obj.names, which names the classes, does not exist'):
        read_fields(tmp_path)


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('train = ' + 'x' * 5000, 'does not exist'),
        ('names = ' + 'x' * 5000, 'which names the classes, does not exist'),
        ('classes = 7', 'nc says 7 classes, and names has 1'),
    ],
)
def test_lines_of_a_data_file_that_lead_nowhere_are_refused(tmp_path, line, message):
    darknet(tmp_path)
    with (tmp_path / 'obj.data').open('a') as file:
        file.write(line)
    with pytest.raises(InputError, match=message):
        read_fields(tmp_path)


def test_a_number_of_classes_beyond_any_is_not_read(tmp_path):
    darknet(tmp_path)
    with (tmp_path / 'obj.data').open('a') as file:
        file.write('classes = ' + '9' * 5000)
    assert read_fields(tmp_path).fields['names'] == ['cat']


def test_a_test_split_may_have_images_of_one_class(tmp_path):
    for name in ('train/cat', 'train/dog', 'val/cat', 'val/dog', 'test/cat'):
        save(tmp_path / name / 'a.jpg')
    assert set(read_classes(tmp_path).splits) == set(SPLITS)
