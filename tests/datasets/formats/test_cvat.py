"""CVAT's XML becomes COCO content, and what cannot be read is named."""

import numpy as np
import pytest
from PIL import Image

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.cvat import read_cvat, subsets

META = """<meta><task><id>4</id><name>t</name><labels>
<label><name>car</name><color>#f00</color><type>any</type><attributes></attributes></label>
<label><name>dog</name><type>rectangle</type></label>
<label><name>road edge</name><type>polyline</type></label>
<label><name>nose</name><type>points</type><parent>face</parent></label>
</labels></task></meta>"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'images').mkdir()
    Image.new('RGB', (80, 40)).save(tmp_path / 'images/a.jpg')
    return tmp_path


def image(*shapes, name='a.jpg', more=''):
    inner = ''.join(shapes)
    return f'<image id="0" name="{name}" width="80" height="40" {more}>{inner}</image>'


def write(folder, *images, meta=META):
    head = '<?xml version="1.0" encoding="utf-8"?>'
    text = f'{head}<annotations><version>1.1</version>{meta}{"".join(images)}</annotations>'
    (folder / 'annotations.xml').write_text(text)


def read(folder, **options):
    return read_cvat(SourceFiles(folder / 'annotations.xml', folder / 'images', **options))


def box(label='car', x1=10, y1=5, x2=30, y2=15, **more):
    extra = ' '.join(f'{key}="{value}"' for key, value in more.items())
    return (
        f'<box label="{label}" source="manual" occluded="0" xtl="{x1}" ytl="{y1}" xbr="{x2}" '
        f'ybr="{y2}" z_order="0" {extra}></box>'
    )


def test_boxes_polygons_ellipses_and_masks_are_read(folder):
    write(
        folder,
        image(
            box(x1=10.25),
            box('dog', rotation=90),
            '<polygon label="car" points="0.00,0.00;10.50,0.00;10.50,8.00"></polygon>',
            '<ellipse label="car" cx="40" cy="20" rx="10" ry="5" rotation="90"></ellipse>',
            '<mask label="car" rle="1, 2, 1, 2" left="3" top="4" width="3" height="2"></mask>',
        ),
    )
    found = read(folder)
    content = found.content()
    assert (found.unreadable, found.notes) == ([], [])
    assert content['images'] == [dict(id=1, file_name='a.jpg', width=80, height=40)]
    assert [c['name'] for c in content['categories']] == ['car', 'dog']
    plain, turned, polygon, ellipse, mask = content['annotations']
    assert (plain['bbox'], plain['area']) == ([10.25, 5, 19.75, 10], 197.5)
    assert 'segmentation' not in plain
    np.testing.assert_allclose(turned['bbox'], [15, 0, 10, 20], atol=1e-9)
    np.testing.assert_allclose(turned['segmentation'][0], [25, 0, 25, 20, 15, 20, 15, 0], atol=1e-9)
    assert polygon['segmentation'] == [[0, 0, 10.5, 0, 10.5, 8]]
    np.testing.assert_allclose(ellipse['bbox'], [35, 10, 10, 20], atol=0.3)
    # . X X      at column 3, row 4
    # . X X
    assert (mask['bbox'], mask['area']) == ([4, 4, 2, 2], 4)


def test_a_hole_of_a_mask_stays_a_hole(folder):
    rle = '3, 1, 4, 1'
    mask = f'<mask label="car" rle="{rle}" left="0" top="0" width="3" height="3"></mask>'
    write(folder, image(mask))
    (entry,) = read(folder).content()['annotations']
    assert (entry['bbox'], entry['area']) == ([0, 1, 3, 2], 2)


def test_shapes_of_one_group_and_label_are_one_object(folder):
    polygon = '<polygon label="{}" group_id="2" points="{}"></polygon>'
    first, second = '0,0;4,0;4,4', '10,0;14,0;14,4'
    write(
        folder,
        image(
            polygon.format('car', first),
            polygon.format('car', second),
            polygon.format('dog', second),
        ),
    )
    both, dog = read(folder).content()['annotations']
    assert both['segmentation'] == [[0, 0, 4, 0, 4, 4], [10, 0, 14, 0, 14, 4]]
    assert dog['bbox'] == [10, 0, 4, 4]


def test_attributes_are_kept(folder):
    shape = box(occluded=1).replace('occluded="0" ', '')
    shape = shape.replace('></box>', '><attribute name="colour">red</attribute></box>')
    write(folder, image(shape))
    (entry,) = read(folder).content()['annotations']
    assert entry['attributes'] == dict(colour='red', occluded=True)


@pytest.mark.parametrize(
    ('shape', 'message'),
    [
        ('<blob label="car"></blob>', 'is a <blob>, which is not read'),
        (box(x1='10,5'), "has xtl '10,5', not a number; write a decimal point"),
        (box(x2=10), 'is a box without area'),
        (box(''), '(box) has no label'),
        ('<polygon label="car" points="1,5,2,0;3,4;0,0"></polygon>', "has the point '1,5,2,0'"),
        ('<mask label="car" rle="1, 2" left="0" top="0" width="2" height="2"></mask>', '3 pixels'),
        ('<mask label="car" rle="a" left="0" top="0" width="2" height="2"></mask>', "has rle 'a'"),
    ],
)
def test_a_shape_that_is_no_object_is_named(folder, shape, message):
    write(folder, image(box(), shape))
    found = read(folder)
    ((place, text),) = found.unreadable
    assert place == 'annotations.xml, a.jpg, shape 2'
    assert message in text
    assert len(found.content()['annotations']) == 1


def test_lines_points_and_skeletons_are_counted_by_name(folder):
    shapes = [f'<{kind} label="car"/>' for kind in ('polyline', 'points', 'skeleton', 'cuboid')]
    write(folder, image(box(), *shapes))
    found = read(folder).annotations(folder)
    assert found.unreadable == []
    ((_, text),) = found.skipped
    assert '1 polyline, 1 points, 1 skeleton, 1 cuboid; first annotations.xml, a.jpg' in text


def test_tracks_are_refused_by_name(folder):
    write(folder, '<track id="0" label="car"></track>')
    with pytest.raises(InputError, match=r'holds a track .car.*Export the task as'):
        read(folder)


def test_tags_of_images_are_counted(folder):
    write(folder, image(box(), '<tag label="night" source="manual"></tag>'))
    found = read(folder)
    assert list(found.classes.values()) == [['night']]
    assert found.unreadable == []


def test_a_project_of_several_tasks_has_the_labels_of_all(folder):
    project = META.replace('<task>', '<project><tasks><task>').replace('</task>', '</task></tasks>')
    more = '<labels><label><name>bus</name></label></labels></project>'
    write(folder, image(box()), meta=project.replace('</meta>', f'{more}</meta>'))
    names = [c['name'] for c in read(folder).content()['categories']]
    assert names == ['car', 'dog', 'bus']


def test_subsets_are_listed_and_taken(folder):
    for name in ('Train', 'Val'):
        (folder / 'images' / name).mkdir()
        Image.new('RGB', (80, 40)).save(folder / f'images/{name}/b.jpg')
    write(
        folder,
        image(box(), name='b.jpg', more='subset="Train"'),
        image(box('dog'), name='b.jpg', more='subset="Val"'),
    )
    assert subsets(folder / 'annotations.xml') == {'Train': 1, 'Val': 1}
    content = read(folder, subset='Val').content()
    assert [i['file_name'] for i in content['images']] == ['Val/b.jpg']
    assert [a['category_id'] for a in content['annotations']] == [2]


def test_an_image_of_another_machine_is_found_by_its_name(folder):
    write(folder, image(box(), name='/home/eva/a.jpg'))
    found = read(folder)
    assert found.content()['images'][0]['file_name'] == 'a.jpg'
    assert 'found by their name alone' in found.notes[0]


def test_an_image_that_is_missing_or_listed_twice_is_named(folder):
    write(folder, image(box()), image(box()), image(box(), name='no.jpg'))
    messages = [text for _, text in read(folder).unreadable]
    assert len(messages) == 2
    assert 'is listed twice' in messages[0]
    assert "names the image 'no.jpg', which is not in" in messages[1]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('<annotations><image', 'is not XML'),
        ('<annotation></annotation>', 'with <annotation> at its root'),
    ],
)
def test_other_files_are_refused(folder, text, message):
    (folder / 'annotations.xml').write_text(text)
    with pytest.raises(InputError, match=message):
        read(folder)
