"""Formats that are not read are called by their names."""

import json

import pytest

from casvit_mm import InputError
from casvit_mm.datasets.formats.base import SourceFiles
from casvit_mm.datasets.formats.coco_file import read_annotations
from casvit_mm.datasets.formats.foreign import name_folder
from casvit_mm.datasets.formats.voc import read_voc

LABELME = json.dumps(dict(version='5', shapes=[], imagePath='a.jpg'))
FOREIGN = {
    'cvat.xml': ('<annotations><version>1.1</version></annotations>', "CVAT's own XML"),
    'a.xml': ('<annotation/>', 'Pascal VOC XML of one image. Name the folder'),
    'a.json': (LABELME, "LabelMe's JSON of one image"),
    'via.json': ('{"_via_settings": {}}', 'a project of the VGG Image Annotator'),
    'export.json': ('{"a1": {"filename": "a", "regions": []}}', 'a project of the VGG Image'),
    'ml.json': ('[{"image": "a.jpg", "annotations": []}]', "CreateML's JSON"),
    'pred.json': ('[{"image_id": 1, "score": 0.5}]', 'a list of predictions in COCO format'),
    'datumaro.json': ('{"items": [], "categories": {}}', "Datumaro's own JSON"),
    'oi.csv': ('ImageID,Source,LabelName,XMin\n', 'a table of Open Images'),
    'other.csv': ('file,x,y\n', 'a table. Convert it'),
    'masks.csv': ('MaskPath,ImageID,LabelName,BoxID\n', 'a table of Open Images. Name that of'),
    'labels.csv': ('ImageID,Source,LabelName\n', 'a table of classes of whole images of Open'),
    'min.json': (
        '[{"image": "a.jpg", "annotation_id": 1, "lead_time": 2}]',
        "Label Studio's short",
    ),
    'export.zip': ('PK', 'an archive. Unpack it and name the folder'),
    'old.xml': (
        '<annotation><object><polygon><pt/></polygon></object></annotation>',
        'the XML of the LabelMe of 2008',
    ),
    'train0.txt': ('0 0.5 0.5 0.2 0.2\n', 'a list of YOLO. Give the data.yaml'),
    'data.yaml': ('names: [car]\n', 'a description of YOLO. Give it as --data'),
}


@pytest.mark.parametrize('name', FOREIGN)
def test_a_file_of_another_format_is_named(tmp_path, name):
    text, message = FOREIGN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f'annotation file .* is {message}'):
        read_annotations(tmp_path / name, f'annotation file {tmp_path / name}')


@pytest.mark.parametrize('name', ['a.json', 'oi.csv'])
def test_a_folder_of_another_format_is_named(tmp_path, name):
    text, message = FOREIGN[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=f'holds no XML file, but {name} is {message}'):
        read_voc(SourceFiles(tmp_path, tmp_path))


@pytest.mark.parametrize(
    'text', ['', '<annotations', '\x00', '<?xml version="1.0" encoding="x"?><a/>']
)
def test_what_is_no_format_at_all_is_no_json(tmp_path, text):
    (tmp_path / 'a.xml').write_text(text)
    with pytest.raises(InputError, match='is not JSON'):
        read_annotations(tmp_path / 'a.xml', 'train')
    with pytest.raises(InputError, match='does not exist'):
        read_annotations(tmp_path / 'gone.xml', 'train')


def test_the_file_that_says_most_names_a_folder(tmp_path):
    (tmp_path / 'annotations').mkdir()
    (tmp_path / 'annotations/names.csv').write_text('/m/01,cat\n')
    (tmp_path / 'annotations/masks.csv').write_text(FOREIGN['masks.csv'][0])
    (tmp_path / 'labelmap.txt').write_text('cat:::\n')
    assert name_folder(tmp_path).startswith('annotations/masks.csv is a table of Open Images')
